"""An image that occurs twice, in one list or in two splits, is refused with both lines."""

import pytest

import trees
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.pcl_lists import BU3DFERendered, ListedActionUnits, ListedExpressions
from pcfrl_lightning.data.releases.registry import data_class
from pcfrl_lightning.errors import DataError

AFFECTNET = "Manually_Annotated_file_lists"


def refused(build, name, second, first):
    with pytest.raises(DataError) as caught:
        build()
    message = str(caught.value)
    assert f"{second}: {name} stands in " in message
    assert f"{first} already; keep one of the two lines" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("form", "line"),
    [(ListedExpressions, "{} 3"), (ListedActionUnits, "{},0,1"), (BU3DFERendered, "{},1,2")],
)
@pytest.mark.parametrize(
    ("train", "test", "second", "first"),
    [
        (("a.jpg", "b.jpg", "a.jpg"), ("c.jpg",), "train_list.txt:3", "train_list.txt:1"),
        (("a.jpg",), ("b.jpg", "b.jpg"), "test_list.txt:2", "test_list.txt:1"),
        (("b.jpg", "a.jpg"), ("c.jpg", "a.jpg"), "test_list.txt:2", "train_list.txt:2"),
    ],
)
def test_list_forms(tmp_path, form, line, train, test, second, first):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        trees.image(tmp_path / name)
    for split, names in (("train", train), ("test", test)):
        trees.text(tmp_path / f"{split}_list.txt", "\n".join(line.format(name) for name in names))
    twice = next(name for name in (*train, *test) if (train + test).count(name) > 1)
    refused(form(tmp_path).build, twice, second, first)


def test_an_equal_image_written_as_another_path_is_the_same(tmp_path):
    trees.image(tmp_path / "a.jpg")
    trees.text(tmp_path / "train_list.txt", "a.jpg 0")
    trees.text(tmp_path / "test_list.txt", "./a.jpg 0")
    refused(ListedExpressions(tmp_path).build, "a.jpg", "test_list.txt:1", "train_list.txt:1")


@pytest.mark.parametrize(
    ("name", "make", "file", "line", "image", "second", "first"),
    [
        (
            "rafdb",
            trees.rafdb,
            "basic/EmoLabel/list_patition_label.txt",
            "\ntrain_00001.jpg 2",
            "train_00001.jpg",
            6,
            1,
        ),
        ("celeba", trees.celeba, "list_eval_partition.txt", "000002.jpg 2", "000002.jpg", 6, 2),
        ("celeba", trees.celeba, "list_attr_celeba.txt", "000001.jpg" + " 1" * 40, "000001.jpg", 8, 3),
        ("celeba", trees.celeba, "identity_CelebA.txt", "000003.jpg 1", "000003.jpg", 6, 3),
    ],
)
def test_releases(tmp_path, name, make, file, line, image, second, first):
    path = make(tmp_path) / file
    before = path.read_text()
    path.write_text(before + line)
    refused(data_class(name)(tmp_path).build, image, f"{path.name}:{second}", f"{path.name}:{first}")
    assert f"{path.name}:{second}: {image} stands in" in check(name, tmp_path).problems[0]


def test_affectnet_lists_with_a_common_image(tmp_path):
    listing = trees.affectnet_csv(tmp_path) / AFFECTNET / "validation.csv"
    listing.write_text(listing.read_text() + "2/c.png,1,2,30,30,,5,0,0\n")
    refused(data_class("affectnet7")(tmp_path).build, "2/c.png", "validation.csv:2", "training.csv:4")


def test_a_photo_of_affectnet_may_show_several_faces(tmp_path):
    listing = trees.affectnet_csv(tmp_path) / AFFECTNET / "training.csv"
    faces = len(data_class("affectnet7")(tmp_path).build()["train"])
    listing.write_text(listing.read_text() + "1/a.jpg,1,2,30,30,,0,0,0\n")
    assert len(data_class("affectnet7")(tmp_path).build()["train"]) == faces + 1


def test_a_photo_of_wflw_may_show_several_faces(tmp_path):
    listing = trees.wflw(tmp_path) / "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt"
    listing.write_text(listing.read_text().replace("b.jpg", "a.jpg"))
    assert len(data_class("wflw")(tmp_path).build()["train"]) == 2
