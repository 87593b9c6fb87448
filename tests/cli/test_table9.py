"""The configs of Table 9 on miniature releases, and what they log about calibrated pairs."""

import csv
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from pcfrl_lightning.callbacks import PairLabels
from pcfrl_lightning.callbacks.pair_labels import pair_counts
from pcfrl_lightning.data import TwoViews
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.functional import Calibration
from pcfrl_lightning.heads import ContrastOutput, TopK
from pcfrl_lightning.methods import MoCo, SimCLR
from pcfrl_lightning.networks import FaceBackbone, SmallImageResNet
from pcfrl_lightning.schedule import LateCosine
from tiny import TinyFaces, trainer

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SMALL = ["--data.batch_size=4", "--data.num_workers=0", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
SMALL += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--model.calibrator=TopK"]
BASE = ["fit", "--config", "configs/pretrain.yaml", "--config", "configs/method/simclr.yaml"]


@pytest.fixture
def release(folder, monkeypatch):
    """A folder with both releases in their official layout, a few random images each."""
    for module in ("cifar", "stl10"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)
    generator = np.random.default_rng(0)
    cifar, stl10 = folder / "data/cifar-10-batches-py", folder / "data/stl10_binary"
    cifar.mkdir(parents=True)
    stl10.mkdir()
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        pixels = generator.integers(0, 256, (2, 3072), dtype=np.uint8)
        (cifar / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 7]}))
    (cifar / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    generator.integers(0, 256, (8, 3, 96, 96), dtype=np.uint8).tofile(stl10 / "unlabeled_X.bin")
    (stl10 / "class_names.txt").write_text("\n".join(NAMES))
    return folder / "data"


def last_values(path) -> dict[str, float]:
    rows = list(csv.DictReader(path.open()))
    return {name: float(row[name]) for row in rows for name in row if row[name]}


@pytest.mark.parametrize("stem", [(), ("--config", "configs/experiment/cifar_stem.yaml")], ids=["recipe", "stem"])
def test_cifar10_pretrains_and_logs_the_share_of_pairs_of_one_class(pcfrl, release, folder, stem):
    cli = pcfrl(*BASE, "--config", "configs/experiment/cifar10.yaml", *stem, "--data.root", release, *SMALL)
    assert type(cli.model.network.backbone) is SmallImageResNet or not stem
    assert [layer.out_features for layer in cli.model.network.projector if hasattr(layer, "out_features")] == [512, 128]
    logged = last_values(folder / "runs/cifar10/version_0/metrics.csv")
    assert 0 <= logged["train/face/same_label"] <= 1
    assert logged["train/face/same_label_chance"] > 0
    saved = yaml.safe_load((folder / "runs/cifar10/version_0/config.yaml").read_text())
    expected = {"T_max": 100} if stem else {"start": 10, "period": 195}
    assert expected.items() <= saved["lr_scheduler"]["init_args"].items()


def test_stl10_pretrains_on_the_unlabelled_images(pcfrl, release, folder):
    cli = pcfrl(*BASE, "--config", "configs/experiment/stl10.yaml", "--data.root", release, *SMALL)
    assert len(cli.datamodule.splits["train"]) == 8
    assert cli.datamodule.image_size == 96
    assert "train/face/calibrated_epoch" in last_values(folder / "runs/stl10/version_0/metrics.csv")


def test_the_rate_is_that_of_the_public_code():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-4)
    schedule = LateCosine(optimizer, start=10, period=195)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:11] == pytest.approx([3e-4] * 11)
    assert rates[50] == pytest.approx(3e-4 * (1 + math.cos(math.pi * 40 / 195)) / 2)
    assert rates[100] / 3e-4 == pytest.approx(0.56, abs=0.005)
    again = LateCosine(torch.optim.SGD([torch.zeros(1)], lr=3e-4), start=10, period=195)
    again.load_state_dict(schedule.state_dict())
    assert again.last_epoch == 101
    shorter = LateCosine(torch.optim.SGD([torch.zeros(1)], lr=3e-4), start=10, period=20)
    with pytest.raises(UsageError, match=r"has start and period \[10, 195\], not \[10, 20\]: set lr_scheduler.start"):
        shorter.load_state_dict(schedule.state_dict())
    with pytest.raises(ValueError, match="period >= 1, got 0 and 0"):
        LateCosine(optimizer, 0, 0)


def test_pairs_are_counted_by_the_labels_of_their_images():
    """Four images, views 0 to 3 and 4 to 7; images 0, 1 and 3 have one label."""
    labels = torch.tensor([5, 5, 6, 5])
    partner = torch.tensor([[1], [6], [4], [7]])  # images 1, 2, 0 and 3 for anchors of images 0, 1, 2 and 1
    accepted = torch.tensor([[True], [True], [False], [True]])
    calibration = Calibration(partner, accepted, *[torch.zeros(())] * (len(Calibration._fields) - 2))
    output = ContrastOutput(torch.zeros(()), torch.zeros(()), {}, calibration, torch.tensor([0, 1, 2, 5]))
    assert pair_counts(output, labels).tolist() == [2, 3, 6, 12]


def test_a_contrast_of_the_first_images_of_a_batch_is_counted_among_them():
    """As that of the pose in PCLThreeSteps: column c shows image c % 2, though the batch holds four."""
    watching = PairLabels()
    watching.values = torch.tensor([7, 7, 8, 9])
    calibration = Calibration(
        torch.tensor([[1], [2], [3], [0]]), torch.ones(4, 1, dtype=torch.bool), *[torch.zeros(())] * 4
    )
    watching.outputs = {"pose": ContrastOutput(torch.zeros(()), torch.zeros(()), {}, calibration, torch.arange(4))}
    seen = SimpleNamespace(datamodule=SimpleNamespace(trained_on=torch.arange(4).expand(2, 4).T))
    watching.on_train_batch_end(seen, SimpleNamespace(device="cpu"), None, None, 0)
    assert watching.sums["pose"].tolist() == [4, 4, 2, 2]


def test_pair_labels_refuses_what_it_cannot_count(tmp_path):
    torch.manual_seed(0)
    model = SimCLR(FaceBackbone(0.0625), calibrator=TopK(), image_size=32, projection_dim=16)
    with pytest.raises(UsageError, match="no known 'class' for each image, it has expression"):
        trainer(tmp_path, max_epochs=1, callbacks=[PairLabels()]).fit(model, TinyFaces(8, batch_size=4))
    queue = MoCo(FaceBackbone(0.0625), image_size=32, projection_dim=16, queue_size=8)
    with pytest.raises(UsageError, match="MoCo has no pairs of images of a batch"):
        trainer(tmp_path, max_epochs=1, callbacks=[PairLabels("expression")]).fit(queue, TinyFaces(8, batch_size=4))


@pytest.mark.parametrize("unknown", [-1, math.nan])
def test_pair_labels_refuses_images_of_unknown_label(tmp_path, unknown):
    class Unknown(TinyFaces):
        def build(self):
            splits = super().build()
            splits["train"].labels["expression"] = torch.tensor([1.0] * 7 + [unknown])
            return splits

    model = SimCLR(FaceBackbone(0.0625), calibrator=TopK(), image_size=32, projection_dim=16)
    with pytest.raises(UsageError, match="no known 'expression' for each image"):
        trainer(tmp_path, max_epochs=1, callbacks=[PairLabels("expression")]).fit(model, Unknown(8, batch_size=4))


def test_equal_labels_give_a_share_of_one(tmp_path):
    class OneClass(TinyFaces):
        def build(self):
            splits = super().build()
            for faces in splits.values():
                faces.labels["expression"].zero_()
            return splits

    torch.manual_seed(0)
    model = SimCLR(FaceBackbone(0.0625), calibrator=TopK(), image_size=32, projection_dim=16)
    run = trainer(tmp_path, max_epochs=1, callbacks=[PairLabels("expression")])
    run.fit(model, OneClass(8, batch_size=4))
    assert run.callback_metrics["train/face/same_label"] == 1
    assert run.callback_metrics["train/face/same_label_chance"] == 1


def test_two_views_are_the_only_ones():
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    views = TwoViews(32).sample(image, np.random.default_rng(1))
    assert {name: view.shape for name, view in views.items()} == dict.fromkeys(("face_1", "face_2"), (32, 32, 3))
    plain = TwoViews(32, crop_scale=(1.0, 1.0), flip_p=1.0)
    plain.crop_ratio, plain.appearance = (1.0, 1.0), lambda view, uniform: view
    np.testing.assert_array_equal(plain.sample(image, np.random.default_rng(1))["face_2"], image[:, ::-1])


def test_the_stem_keeps_a_map_of_an_eighth_of_the_side():
    assert SmallImageResNet()(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)
    with pytest.raises(ValueError, match="model_name must be one of"):
        SmallImageResNet("vgg11")
