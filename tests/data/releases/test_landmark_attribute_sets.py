import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, NoCrop
from pcfrl_lightning.data.releases.celeba import CelebA
from pcfrl_lightning.data.releases.cifar10 import CIFAR10
from pcfrl_lightning.data.releases.landmarks300w import Landmarks300W
from pcfrl_lightning.data.releases.stl10 import STL10, STL10Unlabeled
from pcfrl_lightning.data.releases.wflw import WFLW
from pcfrl_lightning.errors import DataError


def names(faces):
    return [faces.source.name(i) for i in range(len(faces))]


@pytest.mark.parametrize("split_folders", [False, True])
def test_celeba(tmp_path, split_folders):
    splits = CelebA(trees.celeba(tmp_path, split_folders)).build()
    assert {split: names(faces) for split, faces in splits.items()} == {
        "train": ["000001.jpg", "000002.jpg"],
        "val": ["000003.jpg"],
        "test": ["000004.jpg", "000005.jpg"],
    }
    expected = torch.tensor([[(k + i) % 2 for k in range(40)] for i in (0, 1)], dtype=torch.float32)
    assert torch.equal(splits["train"].labels["attributes"], expected)
    assert splits["test"].labels["identity"].tolist() == [2883, 2884]
    assert splits["train"].class_names["attributes"][39] == "Attribute_39"
    assert splits["train"].image(0).shape == (218, 178, 3)


def test_celeba_zip_and_landmarks(tmp_path):
    trees.celeba(tmp_path)
    plain = CelebA(tmp_path).build()["val"].image(0)
    cropped = CelebA(tmp_path, cropping=LandmarkCrop(0.0)).build()["val"].image(0)
    # points span 69..108 x 109..154, doubled: longer side 90 about (89, 132) in pixel edges
    np.testing.assert_array_equal(cropped, plain[87:177, 44:134])
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for path in (tmp_path / "img_align_celeba").iterdir():
            archive.write(path, f"img_align_celeba/{path.name}")
            path.unlink()
    (tmp_path / "img_align_celeba").rmdir()
    np.testing.assert_array_equal(CelebA(tmp_path).build()["val"].image(0), plain)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "list_eval_partition.txt",
            ("000002.jpg 0", "000002.jpg 3"),
            r"partition.txt:2: '3' is not an integer from 0 to 2",
        ),
        ("list_eval_partition.txt", ("000002.jpg 0", "000009.jpg 0"), r"partition.txt:2: image 000009.jpg is missing"),
        ("list_attr_celeba.txt", ("000001.jpg -1", "000001.jpg  0"), r"celeba.txt:3: an attribute is 0"),
        ("list_attr_celeba.txt", ("000001.jpg -1", "000001.jpg"), r"celeba.txt:3: expected 41 fields, found 40"),
        ("list_attr_celeba.txt", ("000001.jpg", "000006.jpg"), r"1 images have no attributes, the first is 000001.jpg"),
    ],
)
def test_celeba_names_file_and_line(tmp_path, file, change, message):
    path = trees.celeba(tmp_path) / file
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=message):
        CelebA(tmp_path).build()


def test_300w(tmp_path):
    splits = Landmarks300W(trees.landmarks_300w(tmp_path), cropping=LandmarkCrop(0.25)).build()
    assert names(splits["train"]) == ["afw/1.jpg", "helen/trainset/2_1.jpg", "lfpw/trainset/image_0001.png"]
    assert names(splits["test"]) == ["helen/testset/3_1.jpg", "lfpw/testset/image_0002.png", "ibug/image_092 _01.jpg"]
    assert splits["test"].class_names["conditions"] == ["common", "challenging"]
    assert splits["test"].labels["conditions"].tolist() == [[1, 0], [1, 0], [0, 1]]


def test_landmarks_point_at_the_same_pixels_after_the_crop(tmp_path):
    faces = Landmarks300W(trees.landmarks_300w(tmp_path), cropping=LandmarkCrop(0.25)).build()["test"]
    crop = faces.image(0)
    side = crop.shape[0]
    assert crop.shape == (60, 60, 3)
    whole = faces.source.source.read(0)
    for x, y in (trees.LANDMARKS_68[0], trees.LANDMARKS_68[67]):
        u, v = faces.labels["landmarks"][0][0 if x == 20 else 67].mul(side).sub(0.5).tolist()
        assert u == pytest.approx(round(u), abs=1e-3)
        assert crop[round(v), round(u)].tolist() == whole[int(y), int(x)].tolist()


def test_300w_reports_wrong_points(tmp_path):
    path = trees.landmarks_300w(tmp_path) / "afw/1.pts"
    good = path.read_text()
    trees.text(path, good.replace("21.000000 31.000000", "nan 31.000000"))
    with pytest.raises(DataError, match=r"1.pts:4: 'nan' is not a finite number"):
        Landmarks300W(tmp_path).build()
    trees.text(path, good.replace("21.000000 31.000000\n", ""))
    with pytest.raises(DataError, match=r"1.pts: expected 68 landmarks x, y, found 67"):
        Landmarks300W(tmp_path).build()
    for name in ("afw/1", "helen/trainset/2_1", "lfpw/testset/image_0002", "ibug/image_092 _01"):
        (tmp_path / f"{name}.pts").unlink()
    with pytest.raises(DataError, match=r"4 of 6 .pts files are missing \(afw/1.pts, [^ ]*, [^ ]*0002.pts, \.\.\.\)"):
        Landmarks300W(tmp_path).build()


def test_wflw(tmp_path):
    splits = WFLW(trees.wflw(tmp_path), cropping=LandmarkCrop(0.0)).build()
    assert names(splits["train"]) == ["0--Parade/a.jpg", "0--Parade/b.jpg"]
    assert splits["test"].labels["conditions"].tolist() == [[1, 0, 0, 0, 1, 0]]
    assert splits["test"].image(0).shape == (40, 40, 3)
    points = splits["test"].labels["landmarks"][0]
    # box 10..50 x 20..40, a square of side 40 whose left edge is pixel 10 (10.5 rounded to even) and top edge 10
    torch.testing.assert_close(points, torch.from_numpy((trees.LANDMARKS_98 + 0.5 - [10, 10]) / 40).float())
    listing = tmp_path / "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt"
    listing.write_text(listing.read_text().replace("b.jpg", "z.jpg"))
    with pytest.raises(DataError, match=r"train.txt:2: image 0--Parade/z.jpg is missing"):
        WFLW(tmp_path).build()


def test_cifar10_reads_the_official_batches(tmp_path, monkeypatch):
    trees.cifar10(tmp_path)
    with pytest.raises(DataError, match="no intact copy"):  # checksums are those of the real set
        CIFAR10(tmp_path).build()
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    splits = CIFAR10(tmp_path).build()
    assert splits["train"].labels["class"].tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    pixels = np.arange(3072, 2 * 3072, dtype=np.int64).astype(np.uint8)
    np.testing.assert_array_equal(splits["test"].image(1), pixels.reshape(3, 32, 32).transpose(1, 2, 0))


def test_stl10_reads_the_official_binaries(tmp_path, monkeypatch):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 96, 96), dtype=np.uint8)  # columns first
    for part in ("train", "test", "unlabeled"):
        pixels.tofile(folder / f"{part}_X.bin")
    for part in ("train", "test"):
        np.array([1, 10, 4], np.uint8).tofile(folder / f"{part}_y.bin")
    trees.text(folder / "class_names.txt", "\n".join("abcdefghij"))
    with pytest.raises(DataError, match="download"):
        STL10(tmp_path).build()
    monkeypatch.setattr("torchvision.datasets.stl10.check_integrity", lambda *_: True)
    test = STL10(tmp_path).build()["test"]
    assert test.labels["class"].tolist() == [0, 9, 3]
    np.testing.assert_array_equal(test.image(2), pixels[2].transpose(2, 1, 0))
    assert STL10Unlabeled(tmp_path).build()["train"].labels["class"].tolist() == [-1] * 3


def test_absent_archives_are_not_downloaded_unasked(tmp_path):
    with tarfile.open(tmp_path / "other.tar", "w"):
        pass
    with pytest.raises(DataError, match="set download to true"):
        CIFAR10(tmp_path).build()


def test_archives_beside_are_extracted_only_with_download(tmp_path, monkeypatch):
    """Checksums are switched off, the network too: an archive that lies there is not fetched again."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [3]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    shutil.rmtree(folder)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: Path(path).is_file())
    monkeypatch.setattr("torchvision.datasets.utils.check_md5", lambda *_: True)
    monkeypatch.setattr("urllib.request.urlopen", None)
    with pytest.raises(DataError, match="set download to true"):
        CIFAR10(tmp_path).build()
    assert not folder.exists()
    assert CIFAR10(tmp_path, download=True).build()["test"].labels["class"].tolist() == [3]


def foreign_archive(root):
    """An archive under the official name with a member that leaves the folder."""
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    return root


def test_an_archive_with_another_checksum_is_not_extracted(tmp_path, monkeypatch):
    root = foreign_archive(Path(trees.text(tmp_path / "data/readme", "").parent))
    asked = []

    def no_network(request, **options):
        asked.append(request)
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(DataError, match=r"no intact copy .*no network"):
        CIFAR10(root, download=True).build()
    assert asked
    assert not (tmp_path / "outside").exists()


def test_a_tar_member_cannot_leave_the_folder(tmp_path, monkeypatch):
    root = foreign_archive(Path(trees.text(tmp_path / "data/readme", "").parent))
    monkeypatch.setattr("torchvision.datasets.utils.check_md5", lambda *_: True)
    with pytest.raises(DataError, match=r"no intact copy .*outside the destination"):
        CIFAR10(root, download=True).build()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("data_set", [Landmarks300W, WFLW])
def test_landmarks_come_with_their_own_crop(tmp_path, data_set):
    with pytest.raises(ValueError, match=f"{data_set.name} is cut by LandmarkCrop always, .* not by NoCrop"):
        data_set(tmp_path, cropping=NoCrop())
