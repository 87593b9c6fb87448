import zipfile

import pytest
from jsonargparse import ArgumentParser

from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError


def names(data: FaceData, split: str = "train") -> list[str]:
    source = data.splits[split].source
    return [source.name(row) for row in range(len(source))]


def pack(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_a_nested_folder_in_the_order_of_names(make_folder):
    folder = make_folder(5)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.jpg").write_text("x")
    assert names(FaceFolder(folder)) == ["p0/0000.jpg", "p0/0003.jpg", "p1/0001.jpg", "p1/0004.jpg", "p2/0002.jpg"]


def test_one_or_several_zips_equal_the_folder(make_folder, tmp_path):
    folder, other = make_folder(5), make_folder(2, "other")
    one, two = pack(folder, tmp_path / "one.zip"), pack(other, tmp_path / "two.zip", "z/")
    assert names(FaceFolder(one)) == names(FaceFolder(folder))
    assert names(FaceFolder([two, one])) == [*names(FaceFolder(folder)), "z/p0/0000.jpg", "z/p1/0001.jpg"]


def test_a_list_keeps_its_order_and_ignores_labels(make_folder, tmp_path):
    folder = make_folder(6)
    (folder / "p0" / "with blank.jpg").write_bytes((folder / "p0" / "0000.jpg").read_bytes())
    listing = tmp_path / "list.txt"
    listing.write_text("# faces\np2/0002.jpg 5\n\np0/0000.jpg,1,0\np1/0001.jpg\t3\np0/with blank.jpg 2\n")
    expected = ["p2/0002.jpg", "p0/0000.jpg", "p1/0001.jpg", "p0/with blank.jpg"]
    assert names(FaceFolder(folder, listing)) == expected
    assert names(FaceFolder(pack(folder, tmp_path / "a.zip"), listing)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p0/0000.jpg\n../x.jpg\n", r"list.txt line 2: '\.\./x\.jpg' must be a path relative"),
        ("/etc/x.jpg\n", "list.txt line 1"),
        ("name,label\n", "list.txt line 1: 'name,label' does not begin with the path of an image"),
        ("\n", "list.txt: empty"),
    ],
)
def test_bad_lists_name_the_line(make_folder, tmp_path, text, message):
    listing = tmp_path / "list.txt"
    listing.write_text(text)
    with pytest.raises(DataError, match=message):
        _ = FaceFolder(make_folder(1), listing).splits


def test_a_list_of_members_that_are_not_in_the_archive(make_folder, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text("p9/0009.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt: 1 names are not in .*a\.zip, the first is 'p9/0009\.jpg'"):
        _ = FaceFolder(pack(make_folder(2), tmp_path / "a.zip"), listing).splits


def test_missing_and_empty_roots(make_folder, tmp_path):
    FaceFolder(tmp_path / "none")  # nothing is read before set-up
    with pytest.raises(FileNotFoundError, match=r"none: does not exist; expected a folder of images or a zip"):
        _ = FaceFolder(tmp_path / "none").splits
    with pytest.raises(FileNotFoundError, match=r"none.txt: no such list file"):
        _ = FaceFolder(make_folder(1), tmp_path / "none.txt").splits
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images found; expected files named"):
        _ = FaceFolder(tmp_path / "empty").splits
    (tmp_path / "a.tar").write_text("")
    with pytest.raises(DataError, match=r"a\.tar: expected a folder or zip archives"):
        _ = FaceFolder(tmp_path / "a.tar").splits


def test_validation_share(make_folder):
    data = FaceFolder(make_folder(20), val_fraction=0.25)
    train, val = names(data), names(data, "val")
    assert (len(train), len(val)) == (15, 5)
    assert not set(train) & set(val)
    assert val == names(FaceFolder(data.root, val_fraction=0.25), "val")
    assert val != names(FaceFolder(data.root, val_fraction=0.25, seed=1), "val")
    with pytest.raises(ValueError, match="val_fraction"):
        FaceFolder(data.root, val_fraction=1.0)


@pytest.mark.parametrize("root", ["faces", "[a.zip, b.zip]"])
def test_root_can_be_given_on_the_command_line(root):
    parser = ArgumentParser()
    parser.add_subclass_arguments(FaceData, "data")
    config = parser.parse_args(
        ["--data=FaceFolder", f"--data.root={root}", "--data.views=pcfrl_lightning.data.views.cpu.AlbumentationsViews",
         "--data.views.init_args.appearance.sobel_p=0.1"]
    )  # fmt: skip
    data = parser.instantiate_classes(config).data
    assert [str(path) for path in data.roots] == (["faces"] if root == "faces" else ["a.zip", "b.zip"])
    assert data.views.appearance.sobel_p == 0.1
    assert data.views.side == 64


def test_real_grey_and_pgm_archives(shared_data):
    data = FaceFolder([shared_data / "orl_faces.zip", shared_data / "lfw_color_sample.zip"], num_workers=0)
    assert len(data.splits["train"]) == 490
    data.setup("test")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (256, 3, 64, 64)
