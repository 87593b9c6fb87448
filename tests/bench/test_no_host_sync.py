"""Nothing inside ``training_step`` makes the host wait for the device."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from pcfrl_lightning.bench.host_sync import HostSyncs
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
]


def _batch(images: int = 6, device: str = "cpu") -> dict[str, torch.Tensor]:
    views = {name: torch.rand(images, 3, 32, 32, device=device) for name in VIEW_ORDER}
    return views | {"pose_negatives": torch.rand(images, 2, 3, 32, 32, device=device)}


class _WatchedSteps(PCFRL):
    """Looks for waits in every training step and in its backward pass."""

    found: list[str]

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        with HostSyncs() as syncs:
            loss = super().training_step(batch, batch_idx)
        self.found = syncs.found
        return loss

    def backward(self, loss: torch.Tensor, *args: object, **kwargs: object) -> None:
        with HostSyncs() as syncs:
            super().backward(loss, *args, **kwargs)
        self.found += syncs.found


def _fit(
    module: L.LightningModule, batch: dict[str, torch.Tensor], accelerator: str, steps: int, precision: str
) -> None:
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=1,
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([batch] * steps, batch_size=None))  # type: ignore[arg-type]


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
def test_training_step_with_its_logging_waits_for_nothing(precision: str) -> None:
    """The second step: in the first, Lightning makes the tensors in which it keeps logged values."""
    module = _WatchedSteps(FaceBackbone(0.125), image_size=32, projection_dim=16)
    _fit(module, _batch(), "cpu", steps=2, precision=precision)
    assert module.found == []


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
    _fit(module, _batch(device="cuda"), "gpu", steps=3, precision="bf16-mixed")
    assert module.trainer.global_step == 3
