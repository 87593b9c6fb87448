"""Nothing makes the host wait for the device inside an epoch."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from host_syncs import HostSyncs
from pcfrl_lightning.callbacks import LearningRates, ReconstructionGrid, StopOnBreakdown, Throughput
from pcfrl_lightning.heads import (
    AdaptiveThreshold,
    AlignmentOnly,
    AllNegatives,
    Attention,
    CalibratedContrast,
    Calibrator,
    CosineOnly,
    CosineThreshold,
    Eq7,
    ExponentWeight,
    JoinedNegatives,
    LossWeight,
    MirroredNegatives,
    MixedNegatives,
    Negatives,
    NoCalibration,
    NPAThreshold,
    PairTerm,
    RandomNegatives,
    TopK,
)
from pcfrl_lightning.host_copy import HostCopy
from pcfrl_lightning.methods.orthogonality import CrossCovariance
from pcfrl_lightning.methods.pcfrl import PCFRL, VIEW_ORDER
from pcfrl_lightning.networks import FaceBackbone

HEADS: list[tuple[Calibrator, PairTerm, Negatives]] = [
    (NPAThreshold(threshold=0.1), Eq7(beta=0.2), AllNegatives()),
    (NPAThreshold(neighborhood="sum", threshold=50.0), LossWeight(), AllNegatives()),
    (AdaptiveThreshold("mean"), ExponentWeight(), AllNegatives()),
    (AdaptiveThreshold("quantile", 0.8), AlignmentOnly(), AllNegatives()),
    (TopK(2), Attention(), AllNegatives()),
    (CosineThreshold(0.1), CosineOnly(), RandomNegatives(3)),
    (NoCalibration(), Eq7(), MixedNegatives()),
    (NoCalibration(), Eq7(), MirroredNegatives()),
    (AdaptiveThreshold("mean"), LossWeight(), JoinedNegatives()),
]


def _batch(images: int = 6, device: str = "cpu") -> dict[str, torch.Tensor]:
    views = {name: torch.rand(images, 3, 32, 32, device=device) for name in VIEW_ORDER}
    return views | {"pose_negatives": torch.rand(images, 2, 3, 32, 32, device=device)}


class _Descent(PCFRL):
    """Adam on the CPU reads its own step count, which it keeps there on every device."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class _Watch(L.Callback):
    """Operations that wait for the device, by step: from the start of a batch to the start of the next."""

    def __init__(self, syncs: HostSyncs) -> None:
        self.syncs = syncs
        self.marks: list[int] = []
        self.bar: list[float] = []

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.marks.append(len(self.syncs.found))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        assert trainer.progress_bar_callback is not None
        self.bar.append(trainer.progress_bar_callback.get_metrics(trainer, pl_module).get("loss", -1.0))

    def waits(self) -> list[list[str]]:
        return [self.syncs.found[start:end] for start, end in pairwise(self.marks)]


def _fit(module: L.LightningModule, batch: dict[str, torch.Tensor], steps: int, **options: Any) -> None:
    quiet = {"devices": 1, "max_epochs": 1, "enable_checkpointing": False, "enable_model_summary": False}
    L.Trainer(**(quiet | options)).fit(module, DataLoader([batch] * steps, batch_size=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(("calibrator", "pair_term", "negatives"), HEADS, ids=lambda part: type(part).__name__)
def test_losses_and_gradients_wait_for_nothing(
    calibrator: Calibrator, pair_term: PairTerm, negatives: Negatives
) -> None:
    head = CalibratedContrast(calibrator, pair_term, negatives=negatives)
    face = CalibratedContrast(calibrator, pair_term) if negatives.needs_mirrored else head
    module = PCFRL(
        FaceBackbone(0.125),
        face_contrast=face,
        pose_contrast=head,
        orthogonality=CrossCovariance(),
        image_size=32,
        projection_dim=16,
        input_noise=0.4,
    )
    with HostSyncs() as syncs:
        module.losses(_batch())[0].backward()
    assert syncs.found == []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_step_of_the_fit_loop_waits_for_the_device(tmp_path: Path, precision: str) -> None:
    """With a progress bar, a logger and the callbacks of pretrain.yaml, steps that are logged included."""
    with HostSyncs() as syncs:
        watch = _Watch(syncs)
        _fit(
            _Descent(FaceBackbone(0.125), image_size=32, projection_dim=16),
            _batch(),
            steps=9,
            accelerator="cpu",
            precision=precision,
            log_every_n_steps=3,
            logger=CSVLogger(tmp_path),
            callbacks=[watch, Throughput(), LearningRates(), ReconstructionGrid(), StopOnBreakdown()],
        )
    assert watch.waits()[1:] == [[]] * 7  # Lightning sets up its log in the first step; the last one ends the epoch
    assert -1 != watch.bar[2] == watch.bar[3] == watch.bar[4] != watch.bar[6]


def test_values_on_their_way_are_read_one_logged_step_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: nothing is read in the step that it belongs to, and every row has the number of its own step."""
    read: list[int] = []

    class Late(HostCopy):
        at_once = False

        def read(self) -> torch.Tensor:
            read.append(module.global_step)
            return super().read()

    monkeypatch.setattr("pcfrl_lightning.methods.step_log.HostCopy", Late)
    module = _Descent(FaceBackbone(0.125), image_size=32, projection_dim=16)
    logger = CSVLogger(tmp_path)
    _fit(module, _batch(), steps=7, accelerator="cpu", log_every_n_steps=3, logger=logger, max_epochs=2)
    assert read == [5, 7, 11, 14]
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss_step"]]
    assert [(row["step"], row["epoch"]) for row in rows] == [("2", "0"), ("5", "0"), ("8", "1"), ("11", "1")]


def test_accumulated_batches_are_logged_once_a_step(tmp_path: Path) -> None:
    module, logger = _Descent(FaceBackbone(0.125), image_size=32, projection_dim=16), CSVLogger(tmp_path)
    options = {"accelerator": "cpu", "log_every_n_steps": 2, "logger": logger, "accumulate_grad_batches": 2}
    _fit(module, _batch(), steps=8, **options)
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss_step"]]
    assert [row["step"] for row in rows] == ["1", "3"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, whose driver reports the waits itself")
def test_cuda_reports_no_wait_in_training_step() -> None:
    class Strict(PCFRL):
        def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
            torch.cuda.set_sync_debug_mode("error" if batch_idx else "default")
            try:
                return super().training_step(batch, batch_idx)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    module = Strict(FaceBackbone(0.125), image_size=32, projection_dim=16)
    _fit(module, _batch(device="cuda"), steps=3, accelerator="gpu", precision="bf16-mixed", log_every_n_steps=9)
    assert module.trainer.global_step == 3
