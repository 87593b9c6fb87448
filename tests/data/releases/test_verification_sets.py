import zipfile

import numpy as np
import pytest

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, UnsuitableCropping
from pcfrl_lightning.data.releases.cplfw import CPLFW
from pcfrl_lightning.data.releases.lfw import LFW, read_view2
from pcfrl_lightning.data.releases.pcl_lists import ListedPairs
from pcfrl_lightning.errors import DataError


def named(faces):
    """(first, second, same, fold) with names."""
    rows = zip(*(field.tolist() for field in faces.pairs), strict=True)
    return [(faces.source.name(a), faces.source.name(b), same, fold) for a, b, same, fold in rows]


@pytest.mark.parametrize("folder", ["lfw", "lfw_funneled", "lfw-deepfunneled", "lfw2"])
@pytest.mark.parametrize("header", [True, False])
def test_lfw_reads_every_variant_with_and_without_header(tmp_path, folder, header):
    faces = LFW(trees.lfw(tmp_path, folder, header)).build()["test"]
    pairs = named(faces)
    assert len(pairs) == 40
    assert pairs[0] == ("Ann_Ax/Ann_Ax_0001.jpg", "Ann_Ax/Ann_Ax_0002.jpg", True, 0)
    assert pairs[3] == ("Ann_Ax/Ann_Ax_0001.jpg", "Ann_Ay/Ann_Ay_0001.jpg", False, 0)
    assert faces.pairs.fold.bincount().tolist() == [4] * 10
    same = faces.labels["identity"][faces.pairs.first] == faces.labels["identity"][faces.pairs.second]
    assert same.tolist() == faces.pairs.same.tolist()
    assert faces.image(0).shape == (20, 20, 3)


def test_lfw_reads_zips_in_place(tmp_path):
    trees.lfw(tmp_path / "tree")
    (tmp_path / "zips").mkdir()
    files = sorted((tmp_path / "tree/lfw").rglob("*.jpg"))
    for name, part in (("lfw_a_1.zip", files[:11]), ("lfw_a_2.zip", files[11:])):
        with zipfile.ZipFile(tmp_path / "zips" / name, "w") as archive:
            for file in part:
                archive.write(file, file.relative_to(tmp_path / "tree").as_posix())
    (tmp_path / "zips/pairs.txt").write_bytes((tmp_path / "tree/pairs.txt").read_bytes())
    from_zips, from_folder = LFW(tmp_path / "zips").build()["test"], LFW(tmp_path / "tree").build()["test"]
    assert [(f"lfw/{a}", f"lfw/{b}", *rest) for a, b, *rest in named(from_folder)] == named(from_zips)
    np.testing.assert_array_equal(from_zips.image(7), from_folder.image(7))
    (tmp_path / "zips/lfw_a_3.zip").write_bytes((tmp_path / "zips/lfw_a_1.zip").read_bytes())
    with pytest.raises(DataError, match="stands twice"):
        LFW(tmp_path / "zips").build()


@pytest.mark.parametrize("wrapper", ["lfw", "lfw_funneled"])
def test_lfw_reads_the_named_archive_although_a_default_folder_exists(tmp_path, wrapper, monkeypatch):
    trees.lfw(tmp_path)
    with zipfile.ZipFile(tmp_path / "lfw_funneled.zip", "w") as archive:
        for file in sorted((tmp_path / "lfw").rglob("*.jpg")):
            other = trees.image(tmp_path / "other" / file.name, 30, 30, seed=1)
            archive.write(other, f"{wrapper}/{file.parent.name}/{file.name}")
    assert LFW(tmp_path).build()["test"].image(0).shape == (20, 20, 3)
    faces = LFW(tmp_path, images="lfw_funneled.zip").build()["test"]
    assert faces.image(0).shape == (30, 30, 3)
    assert faces.source.name(0) == f"{wrapper}/Ann_Ax/Ann_Ax_0001.jpg"
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        assert LFW(".", images="lfw_funneled.zip").build()["test"].image(0).shape == (30, 30, 3)
    for absent in ("lfw_funnelled.zip", str(tmp_path / "lfw_funneled.zip")):
        with pytest.raises(FileNotFoundError, match=f"no images under {tmp_path}; looked for {absent}$"):
            LFW(tmp_path, images=absent).build()


def test_zip_members_cannot_leave_the_root(tmp_path):
    trees.lfw(tmp_path)
    for path in sorted(tmp_path.rglob("lfw/**/*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "lfw").rmdir()
    with zipfile.ZipFile(tmp_path / "lfw.zip", "w") as archive:
        archive.writestr("../evil.jpg", b"x")
    with pytest.raises(DataError, match=r"\.\./evil\.jpg"):
        LFW(tmp_path).build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Ann_Ax\t1\t2", "Ann_Ax\tone\t2"), r"pairs.txt:2: 'one' is not a number"),
        (("Ann_Ax\t1\t2", "Ann_Ax\t1\t9"), r"pairs.txt:2: image Ann_Ax/Ann_Ax_0009.jpg is missing \(1 in all\)"),
        (("Ann_Ax\t1\t2", "Ann_Ax\t1"), r"pairs.txt:2: expected 3 or 4 fields"),
        (("Ann_Ax\t1\t2", "../a\t1\t2"), r"pairs.txt:2: .* must be a path relative"),
        (("10\t2", "9\t2"), r"pairs.txt:1: '9' is not an integer"),
        (("Ann_Ax\t1\t2\n", ""), "expected 10 folds of equal size"),
    ],
)
def test_lfw_names_file_and_line(tmp_path, change, message):
    listing = trees.lfw(tmp_path) / "pairs.txt"
    listing.write_text(listing.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=message):
        LFW(tmp_path).build()


def test_lfw_landmark_crop_is_refused_with_a_reason(tmp_path):
    with pytest.raises(UnsuitableCropping, match="LFW has no landmarks: use NoCrop or YuNetCrop"):
        LFW(tmp_path, cropping=LandmarkCrop())


def test_official_view2_list_and_images(shared_data):
    pairs = read_view2(shared_data / "lfw_pairs.txt")
    assert len(pairs) == 6000
    assert pairs[0][:4] == ("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco/Abel_Pacheco_0004.jpg", True, 0)
    assert not pairs[300].same
    assert pairs[300].row.number == 302
    faces = LFW(shared_data).build()["test"]
    assert len(faces) == 7701
    assert faces.pairs.fold.bincount().tolist() == [600] * 10
    assert all(int(faces.pairs.same[faces.pairs.fold == fold].sum()) == 300 for fold in range(10))
    assert int(faces.labels["identity"].max()) + 1 == 4281
    assert faces.image(5000).shape == (250, 250, 3)
    assert named(faces)[600][3] == 1


def test_colour_sample_is_read_in_colour(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "lfw_color_sample.zip") as archive:
        archive.extractall(tmp_path)
    lines = []
    for fold in range(10):
        lines += [f"George_W_Bush\t{fold + 1}\t{fold + 50}", f"George_W_Bush\t{fold + 1}\tGeorge_W_Bush\t{fold + 80}"]
    trees.text(tmp_path / "pairs.txt", "\n".join(lines))
    image = LFW(tmp_path).build()["test"].image(0)
    assert image.shape == (250, 250, 3)
    assert not np.array_equal(image[..., 0], image[..., 2])


def test_cplfw_folds_are_not_contiguous(tmp_path):
    faces = CPLFW(trees.cplfw(tmp_path)).build()["test"]
    pairs = named(faces)
    assert pairs[0] == ("P_0_1.jpg", "P_0_2.jpg", True, 0)
    assert pairs[20] == ("P_0_1.jpg", "Q_0_3.jpg", False, 0)
    assert [fold for *_, fold in pairs] == [k // 2 for k in range(20)] * 2
    assert [same for *_, same, _ in pairs] == [True] * 20 + [False] * 20


def test_cplfw_crops_by_five_points(tmp_path):
    data = CPLFW(trees.cplfw(tmp_path), folder="images", cropping=LandmarkCrop(0.0))
    assert data.build()["test"].image(0).shape == (40, 40, 3)
    with pytest.raises(ValueError, match="folder 'images' only"):
        CPLFW(tmp_path, cropping=LandmarkCrop())


@pytest.mark.parametrize("wrapper", ["images/", ""])
def test_cplfw_finds_its_five_points_in_the_archive(tmp_path, wrapper):
    trees.cplfw(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted((tmp_path / "elsewhere").iterdir()):
            archive.write(file, f"{wrapper}{file.name}")
        archive.writestr(f"{wrapper}P_1_1_5loc_attri.txt", "1 2\n" * 4)
    data = CPLFW(tmp_path, folder="images", cropping=LandmarkCrop(0.0))
    with pytest.raises(DataError, match=rf"images.zip/{wrapper}P_1_1_5loc_attri.txt: expected 5 landmarks x, y, found"):
        data.build()
    with zipfile.ZipFile(tmp_path / "images.zip", "a") as archive:
        archive.write(tmp_path / "elsewhere/P_1_1_5loc_attri.txt", f"{wrapper}P_1_1_5loc_attri.txt")
    assert data.build()["test"].image(0).shape == (40, 40, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("P_0_2.jpg 1", "P_0_2.jpg 0"), r"pairs_CPLFW.txt:2: label 0 differs from 1"),
        (("P_0_1.jpg 1\n", ""), r"pairs_CPLFW.txt:79: a pair has two lines"),
        (("P_0_1.jpg 1\nP_0_2.jpg 1\n", ""), "19 of 39 pairs"),
        (("P_0_2.jpg 1", "P_0_9.jpg 1"), r"pairs_CPLFW.txt:2: image P_0_9.jpg is missing"),
        (("P_0_2.jpg 1", "P_0_2.jpg 2"), r"pairs_CPLFW.txt:2: '2' is not an integer from 0 to 1"),
    ],
)
def test_cplfw_names_file_and_line(tmp_path, change, message):
    listing = trees.cplfw(tmp_path) / "pairs_CPLFW.txt"
    listing.write_text(listing.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=message):
        CPLFW(tmp_path).build()


@pytest.mark.parametrize("different", ["-1", "0", "-1.0"])
def test_one_line_pairs_of_the_public_code(tmp_path, different):
    pairs = ListedPairs(trees.listed_pairs(tmp_path, different)).build()["test"].pairs
    assert pairs.same.tolist() == [False, True] * 10
    assert pairs.fold.tolist() == [k // 2 for k in range(20)]


def test_one_line_pairs_must_fill_ten_folds_with_both_kinds(tmp_path):
    listing = trees.listed_pairs(tmp_path) / "pairs.txt"
    listing.write_text(listing.read_text().replace(" 1.0", " 0", 1))
    with pytest.raises(DataError, match=r"pairs.txt: 9 of 20 pairs are of one person; 10 folds need 10 of each kind"):
        ListedPairs(tmp_path).build()
