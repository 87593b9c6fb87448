"""CONTRIBUTING, "Adding something": each list is tried with a class of this file, named in a yaml."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from pcfrl_lightning.cli.training import run
from pcfrl_lightning.data import ArraySource, FaceData, FaceSet
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.methods.base import Method
from pcfrl_lightning.networks.encoder import Encoder, load_encoder
from pcfrl_lightning.probes.tasks.base import Task, need

ROOT = Path(__file__).parents[1]


class Stripes(FaceData):
    """A data set: vertical or horizontal stripes."""

    name = "stripes"

    def build(self) -> dict[str, FaceSet]:
        return {split: self._stripes(split, count) for split, count in (("train", 24), ("val", 8), ("test", 8))}

    def _stripes(self, split: str, count: int) -> FaceSet:
        pixels = np.random.default_rng(count).integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)
        pixels[::2, ::4] += 150
        pixels[1::2, :, ::4] += 150
        labels = {"direction": torch.arange(count) % 2}
        names = {"direction": ["horizontal", "vertical"]}
        return FaceSet(ArraySource(pixels, [f"{split}/{i}" for i in range(count)]), labels, class_names=names)


class Brightness(Views):
    """Views: two copies of different brightness, made on the device."""

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"image": image}

    def batch(self, batch: dict[str, Tensor], keys: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        image = batch["image"].float() / 255
        factors = 0.5 + torch.rand(2, len(image), 1, 1, 1, generator=generator, device=image.device) / 2
        return {"face_1": factors[0] * image, "face_2": factors[1] * image}


class Trunk(nn.Module):
    """A backbone."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(3, channels, 5, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).relu()


class Pooled(Encoder):
    """An encoder with one feature."""

    def __init__(self, trunk: nn.Module, image_size: int = 16) -> None:
        super().__init__()
        self.trunk, self.image_size = trunk, image_size

    def encode(self, images: Tensor) -> tuple[Tensor]:
        return (self.trunk(images).flatten(1),)


class Attraction(Method):
    """A method: the two views of an image attract each other."""

    views = ("face_1", "face_2")

    def __init__(self, trunk: nn.Module, image_size: int = 16) -> None:
        super().__init__()
        self.network = Pooled(trunk, image_size)
        self.trunk, self.image_size = trunk, image_size
        self.keep_arguments()

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        (first,), (second,) = self.network.encode(batch["face_1"]), self.network.encode(batch["face_2"])
        cosine = nn.functional.cosine_similarity(first, second).mean()
        return 1 - cosine, {"cosine": cosine.detach()}


class Sign(Task):
    """A probe task: one number per image, above 0 for class 1."""

    monitor = "right"

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        return {"sign": 2 * need(faces, self.label).float() - 1}

    def outputs(self, faces: FaceSet) -> int:
        return 1

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return nn.functional.softplus(-targets["sign"] * outputs[..., 0])

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        return {"right": float((outputs[:, 0] * targets["sign"] > 0).float().mean())}


TRAINING = """
model:
  class_path: test_touch_lists.Attraction
  init_args:
    image_size: 16
    trunk:
      class_path: test_touch_lists.Trunk
      init_args: {channels: 6}
data:
  class_path: test_touch_lists.Stripes
  init_args: {root: ., views: test_touch_lists.Brightness, batch_size: 8, num_workers: 0}
optimizer:
  class_path: torch.optim.Adam
  init_args: {lr: 0.01}
trainer:
  max_epochs: 2
  accelerator: cpu
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {save_dir: ., name: own, version: ""}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: last}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A method, a backbone, a data set and views of this file, trained together from one yaml."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.yaml").write_text(TRAINING)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PCFRL_CACHE", str(folder / "cache"))
        patch.setattr("sys.argv", ["pcfrl"])
        run(["fit", "--config", "own.yaml"])
    return folder / "own" / "checkpoints" / "last.ckpt"


def test_own_method_learns_and_is_logged(checkpoint):
    lines = (checkpoint.parents[1] / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    cosines = [float(row["train/cosine_epoch"]) for row in rows if row["train/cosine_epoch"]]
    assert len(cosines) == 2
    assert cosines[1] > cosines[0]


def test_own_encoder_is_found_in_its_checkpoint_when_trusted(checkpoint):
    from test_touch_lists import Pooled as Imported

    encoder = load_encoder(checkpoint, trust=["test_touch_lists"])
    assert isinstance(encoder, Imported)
    assert encoder.features(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))["f_s"].shape == (2, 6 * 3 * 3)
    with pytest.raises(ValueError, match="test_touch_lists"):
        load_encoder(checkpoint)
    assert yaml.safe_load(TRAINING)["model"]["init_args"]["trunk"]["init_args"]["channels"] == encoder.trunk.channels


PROBE = """
model:
  class_path: pcfrl_lightning.probes.LabelProbe
  init_args:
    label: direction
    task: {class_path: test_touch_lists.Sign, init_args: {label: direction}}
    baseline: pixels
    image_size: 16
    lr: 0.01
data:
  class_path: test_touch_lists.Stripes
  init_args: {root: ., num_workers: 0}
"""


def test_own_task_is_fitted_and_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["pcfrl"])
    (tmp_path / "own.yaml").write_text(PROBE)
    layers = ["--config", str(ROOT / "configs/probe/linear.yaml"), "--config", "own.yaml"]
    quick = ["--trainer.max_epochs=15", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    run(["fit", *layers, *quick])
    (head,) = tmp_path.rglob("last.ckpt")
    run(["test", *layers, *quick, "--ckpt_path", str(head)])
    (path,) = tmp_path.rglob("results.json")
    assert json.loads(path.read_text())["metrics"]["last"]["right"] == 1.0
