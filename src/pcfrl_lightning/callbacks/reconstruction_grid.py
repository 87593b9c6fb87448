"""What the PDD reconstructs, as a picture."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from pcfrl_lightning.callbacks.online_monitor import due
from pcfrl_lightning.errors import require
from pcfrl_lightning.figures.grid import labelled_grid, save_picture
from pcfrl_lightning.networks import PCFRLNetwork
from pcfrl_lightning.networks.encoder import evaluating


class ReconstructionGrid(L.Callback):
    """Every few epochs, a PNG: s, s_hat, the four reconstructions of Eq. 1, and a pose swap between two people.

    It does nothing for methods without a decoder.

    Args:
        every_n_epochs: how often, at least 1.
        images: number of rows, at least 2 (a swap needs two people).
    """

    def __init__(self, every_n_epochs: int = 10, images: int = 6) -> None:
        valid = every_n_epochs >= 1 and images >= 2
        require(valid, f"need every_n_epochs >= 1 and images >= 2, got {every_n_epochs} and {images}")
        self.every_n_epochs, self.images = every_n_epochs, images
        self.views: tuple[Tensor, Tensor] | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first images of the epoch's first batch; after a resume inside the epoch, of the first one seen."""
        wanted = batch_idx == 0 or self.views is None
        if wanted and trainer.is_global_zero and isinstance(pl_module.network, PCFRLNetwork):
            self.views = batch["source"][: self.images].clone(), batch["target"][: self.images].clone()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.views is not None and due(trainer, self.every_n_epochs):
            network: PCFRLNetwork = pl_module.network  # type: ignore[assignment]
            save_picture(trainer, "reconstructions", labelled_grid(reconstruction_columns(network, *self.views)))


@torch.no_grad()
def reconstruction_columns(network: PCFRLNetwork, source: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Columns of the grid from ``(R, 3, S, S)`` images and their pose-augmented versions; the last two are the swap.

    The pose donor of row i is row i - 1 (of the first row: the last).
    """
    with evaluating(network):
        face, pose = network.encode(source)[1:]
        face_hat, pose_hat = network.encode(target)[1:]
        return {
            "s": source,
            "s_hat": target,
            "D(F_f, F_p)": network.reconstruct(face, pose),
            "D(F_f, F_p^)": network.reconstruct(face, pose_hat),
            "D(F_f^, F_p)": network.reconstruct(face_hat, pose),
            "D(F_f^, F_p^)": network.reconstruct(face_hat, pose_hat),
            "pose donor": source.roll(1, 0),
            "pose swap": network.reconstruct(face, pose.roll(1, 0)),
        }
