"""Mistakes that show only when a probe starts: each is of a kind that the command line prints in one line."""

import lightning as L
import pytest
import torch

from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes import HeadPoseProbe, LabelProbe, measure
from pcfrl_lightning.probes.tasks.classes import Classes


def pixels(folder):
    return {"baseline": "pixels", "image_size": 16, "cache_dir": str(folder)}


@pytest.fixture
def probe():
    return HeadPoseProbe(baseline="pixels", image_size=16)


@pytest.fixture
def splits(faces):
    return {name: faces(f"tiny/{name}", {"pose": torch.zeros(6, 3)}) for name in ("train", "test")}


def test_several_processes(probe, splits, tiny_data, trainer, monkeypatch):
    monkeypatch.setattr(L.Trainer, "world_size", 2)
    probe.trainer = trainer()
    probe.trainer.datamodule = tiny_data(splits)
    with pytest.raises(UsageError, match=r"trainer\.devices: 1"):
        probe.setup("fit")


def test_no_face_data(probe, trainer):
    with pytest.raises(UsageError, match=r"a probe needs a data module: trainer.fit"):
        trainer().fit(probe, [torch.zeros(1)])


def test_a_label_of_another_shape_is_named_before_features_are_read(tiny_data, faces, trainer, tmp_path):
    splits = {"train": faces("tiny/train", {"pose": torch.zeros(6, 2)})}
    with pytest.raises(DataError, match=r"tiny/train: 'pose' is \(2,\) for each image, expected three angles"):
        trainer().fit(HeadPoseProbe(baseline="pixels", image_size=16, cache_dir=str(tmp_path)), tiny_data(splits))
    splits = {name: faces(f"tiny/{name}", {"x": torch.rand(6, n)}) for n, name in ((2, "train"), (3, "val"))}
    with pytest.raises(
        DataError, match=r"tiny/val: the label of x is \(3,\) for each image, that of tiny/train \(2,\)"
    ):
        trainer().fit(LabelProbe("x", **pixels(tmp_path)), tiny_data(splits))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("tested", "told"), [(3, "class 2 of x has no training image"), (1, "'x' has one class only")])
def test_classes_that_cannot_be_told_apart(tiny_data, faces, tested, told, tmp_path):
    trained = min(tested, 2)
    splits = {n: faces(f"tiny/{n}", {"x": torch.arange(6) % c}) for n, c in (("train", trained), ("test", tested))}
    with pytest.raises(DataError, match=told):
        measure(LabelProbe("x", **pixels(tmp_path)), tiny_data(splits), 1, tmp_path, "cpu")


def test_numbers_of_people_are_no_classes(tiny_data, faces, tmp_path):
    numbers = torch.tensor([2, 4, 2, 4, 9_000_000_000, 2])
    splits = {name: faces(f"tiny/{name}", {"x": numbers}) for name in ("train", "test")}
    told = "tiny/train: the 3 classes of 'x' are numbered up to 9000000000: name it in class_columns"
    with pytest.raises(DataError, match=told):
        measure(LabelProbe("x", "class", **pixels(tmp_path)), tiny_data(splits), 1, tmp_path, "cpu")
    few = faces("tiny", {"x": torch.arange(6) % 3})  # of as many as was said
    assert Classes("x", num_classes=5000).outputs(few) == 5000


def test_one_label_of_yes_and_no(tiny_data, faces, tmp_path):
    splits = {
        name: faces(f"tiny/{name}", {"x": torch.arange(6).view(6, 1) % 2}, n)
        for n, name in enumerate(("train", "test"))
    }
    found = measure(LabelProbe("x", **pixels(tmp_path)), tiny_data(splits), 1, tmp_path, "cpu")["metrics"]["last"]
    assert found["label_f1"] == [found["f1"]]
    assert found["positive_share"] == [0.5]


def test_hand_made_features_of_too_small_images(tiny_data, splits, trainer, tmp_path):
    probe = HeadPoseProbe(baseline="hog", image_size=8, cache_dir=str(tmp_path))
    with pytest.raises(UsageError, match=r"model\.baseline hog needs images of 16 pixels at least, not 8"):
        trainer().fit(probe, tiny_data(splits))


def test_no_split_at_all(trainer, tmp_path):
    with pytest.raises(DataError, match="verification needs pairs; none of the splits"):
        trainer().test(LabelProbe("x", "pairs", **pixels(tmp_path)), L.LightningDataModule())


def test_neither_a_training_nor_a_test_split(tiny_data, faces, trainer, tmp_path):
    splits = {"val": faces("tiny/val", {"x": torch.arange(6) % 2})}
    with pytest.raises(DataError, match="x needs a split 'train'; the data set has val"):
        trainer().fit(LabelProbe("x", **pixels(tmp_path)), tiny_data(splits))


def test_a_missing_split(probe, splits, tiny_data, trainer):
    with pytest.raises(DataError, match=r"needs a split 'test'; the data set has train: give a data\.root"):
        trainer().test(probe, tiny_data({"train": splits["train"]}))
