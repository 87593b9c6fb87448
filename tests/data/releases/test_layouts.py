"""Trees as copies have them: folders in folders of their own name, archives with backslashes; and a new data set."""

import shutil
import zipfile

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from scipy.io import savemat

import trees
from pcfrl_lightning.data import releases
from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases import registry
from pcfrl_lightning.data.releases.fer2013 import FER2013
from pcfrl_lightning.data.releases.w300lp import W300LP_AFLW2000, yaw_pitch_roll
from pcfrl_lightning.errors import DataError


def fer2013(root):
    for split in ("train", "validation", "test"):
        trees.image(root / split / "happy" / f"{split}.png", 48, 48)
    return root


def disfa(root):
    return trees.disfa_frames(trees.disfa_labels(root), "img", "png")


def pose_arrays(root):
    for part in ("300W_LP", "AFLW2000"):
        (root / part).mkdir(parents=True)
        np.savez(root / part / "a.npz", image=np.zeros((2, 8, 8, 3), np.uint8), pose=np.zeros((2, 3)))
    return root


TREES = [
    ("fer2013", fer2013), ("rafdb", trees.rafdb), ("affectnet7", trees.affectnet_arrays),
    ("affectnet7", trees.affectnet_csv), ("lfw", trees.lfw), ("cplfw", trees.cplfw), ("disfa", disfa),
    ("300w-lp-aflw2000", trees.head_pose), ("bu3dfe", trees.bu3dfe), ("celeba", trees.celeba),
    ("celeba", lambda root: trees.celeba(root, split_folders=True)), ("300w", trees.landmarks_300w),
    ("wflw", trees.wflw), ("cifar10", trees.cifar10), ("pose-arrays", pose_arrays),
]  # fmt: skip


def contents(name, root):
    options = {"disfa": {"subjects": trees.DISFA_SUBJECTS}, "bu3dfe": {"folds": 3}}.get(name, {})
    report = check(name, root, **options)
    assert not report.corrupt
    if name == "bu3dfe":  # its small tree lacks images of its subjects
        return report.counts, []
    return report.counts, [*report.missing, *report.problems]


def into_itself(folder):
    """folder/... becomes folder/folder/..."""
    inner = folder.rename(folder.with_name("inner"))
    folder.mkdir()
    inner.rename(folder / folder.name)


@pytest.mark.parametrize(("name", "make"), TREES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(TREES)])
def test_every_release_accepts_doubled_folders(tmp_path, monkeypatch, name, make):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    root = make(tmp_path / "data")
    expected = contents(name, root)
    assert expected[1] == []
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        if name not in ("fer2013", "bu3dfe") and not (name == "affectnet7" and "_set" not in folder.name):
            into_itself(folder)
    assert contents(name, root) == expected
    into_itself(root)
    assert contents(name, root) == expected


def test_fer2013_csv_one_folder_deeper(tmp_path):
    pixels = " ".join(["7"] * 2304)
    trees.text(tmp_path / "fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{pixels},Training\n")
    assert len(FER2013(tmp_path).build()["train"]) == 1


def test_a_message_says_where_images_were_looked_for(tmp_path):
    root = trees.lfw(tmp_path, "lfw-deepfunneled")
    (root / "lfw-deepfunneled/Ann_Ax").rename(root / "lfw-deepfunneled/moved")
    with pytest.raises(DataError, match=r"is missing \(2 in all\); .* \(looked in [^ ]*lfw-deepfunneled\)"):
        registry.data_class("lfw")(root).build()


@pytest.mark.parametrize(("name", "make"), [("fer2013", fer2013), ("lfw", trees.lfw), ("celeba", trees.celeba)])
def test_archives_with_backslashes(tmp_path, name, make):
    root = make(tmp_path / "data")
    expected = contents(name, root)
    top = {"fer2013": "", "lfw": "lfw", "celeba": "img_align_celeba"}[name]
    archive = root / f"{top or 'fer2013'}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted((root / top).rglob("*.[jp][pn]g")):
            packed.writestr(zipfile.ZipInfo(str(file.relative_to(root)).replace("/", "\\")), file.read_bytes())
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        shutil.rmtree(folder)
    assert contents(name, root) == expected
    assert FaceFolder(archive).build()["train"].image(0).ndim == 3


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.ones((2, 2)), r"Pose_Para has shape \(2, 2\); expected \(1, 7\)"),
        (np.ones((1, 3)), r"Pose_Para has shape \(1, 3\)"),
        (np.ones((7, 7)), r"Pose_Para has shape \(7, 7\)"),
        (np.array([list("abcdefg")]), "Pose_Para is not made of numbers"),
        (np.ones((1, 7)) * 1j, r"Pose_Para is not made of numbers \(complex numbers\)"),
        (np.array([[0, np.nan, 0, 0, 0, 0, 0]]), "Pose_Para must hold three finite angles"),
    ],
)
def test_angles_of_another_form_are_refused(tmp_path, pose, message):
    with pytest.raises(DataError, match=rf"a\.mat: {message}"):
        yaw_pitch_roll(pose, tmp_path / "a.mat")


def test_pose_and_points_of_another_shape_are_refused_with_their_file(tmp_path):
    path = trees.head_pose(tmp_path) / "AFLW2000/image00002.mat"
    savemat(path, {"Pose_Para": np.zeros((2, 2)), "pt3d_68": np.zeros((3, 68))})
    with pytest.raises(DataError, match=r"image00002\.mat: Pose_Para has shape \(2, 2\)"):
        W300LP_AFLW2000(tmp_path).build()
    for points in (np.arange(136.0).reshape(68, 2), np.full((3, 68), np.nan), np.arange(63.0).reshape(3, 21)):
        savemat(path, {"Pose_Para": np.zeros((1, 7)), "pt3d_68": points})
        with pytest.raises(DataError, match=r"image00002\.mat: expected 68 (landmarks|finite)"):
            W300LP_AFLW2000(tmp_path).build()


NEW = '''
from pcfrl_lightning.data.releases.base import CroppedRelease, by_class
from pcfrl_lightning.data.releases.release import open_images


class Smiles(CroppedRelease):
    """Grins and frowns."""

    name = "smiles"
    side = 40
    official = by_class("train", ["no", "yes"], [1, 2])

    def build(self):
        images = open_images(self.root, ["pictures"])
        names = ["0.png", "1.png", "2.png"]
        return {"train": self.faces("train", images.source(names), {"expression": [0, 1, 1]},
                                    {"expression": ["no", "yes"]})}
'''


def test_a_published_data_set_is_one_new_file(tmp_path, monkeypatch):
    """The touch list of CONTRIBUTING, tried: a module in the folder of the releases, and nothing else."""
    trees.text(tmp_path / "package/smiles.py", NEW)
    monkeypatch.setattr(releases, "__path__", [*releases.__path__, str(tmp_path / "package")])
    found = registry.discover()
    assert set(registry.DATA_SETS) | {"smiles"} == set(found)
    monkeypatch.setattr(registry, "DATA_SETS", found)
    monkeypatch.setitem(registry.OFFICIAL, "smiles", dict(found["smiles"].official))
    for number in range(3):
        trees.image(tmp_path / f"root/pictures/{number}.png")
    report = check("smiles", tmp_path / "root")
    assert report.ok, str(report)
    assert [count.what for count in report.counts] == ["train", "train/no", "train/yes"]
    config = {"class_path": "pcfrl_lightning.data.releases.smiles.Smiles", "init_args": {"cropping": "NoCrop"}}
    (tmp_path / "smiles.yaml").write_text(yaml.safe_dump({"data": config}))
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(FaceData, "data")
    given = parser.parse_args([f"--config={tmp_path / 'smiles.yaml'}", f"--data.root={tmp_path / 'root'}"])
    data = parser.instantiate_classes(given).data
    assert (data.image_size, len(data.build()["train"])) == (40, 3)
