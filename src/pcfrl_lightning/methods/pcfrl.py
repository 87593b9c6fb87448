"""The LightningModule: PDD, two calibrated contrastive heads, DWA (paper section 3, Eq. 8)."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from pcfrl_lightning.distributed import all_reduce_sum_no_grad
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.functional import reconstruction_loss
from pcfrl_lightning.heads import CalibratedContrast, ContrastOutput, Eq7, NPAThreshold
from pcfrl_lightning.methods.orthogonality import Orthogonality, PerSampleOrthogonality
from pcfrl_lightning.methods.task_weights import DWA, TaskWeights
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.networks.hparams import save_described_hyperparameters
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm
from pcfrl_lightning.rng import restore_rng, rng_state
from pcfrl_lightning.schedule import scheduled

# Views in the order of the one backbone pass: pose features come from the first four, face features from the last four.
VIEW_ORDER = ("pose_1", "pose_2", "source", "target", "face_1", "face_2")


class PCFRL(L.LightningModule):
    """Pose-disentangled contrastive facial representation learning.

    ``L = L_PDD + alpha_pose (L_p + L'_p) + alpha_face (L_f + L'_f)`` (Eq. 8), one optimiser step, one backbone pass
    over all six views of the batch. Without arguments this is the paper's model. PCL is the same module with
    ``calibrator: NoCalibration`` in both heads.

    Batches are dictionaries of float views in [0, 1], each ``(N, 3, S, S)``: ``source``, ``target``, ``face_1``,
    ``face_2``, ``pose_1``, ``pose_2``; and ``pose_negatives`` ``(N, K, 3, S, S)`` for ``MirroredNegatives``.

    Under DDP the negatives and the neighbourhood of NPA are the global batch, and batch statistics are those of the
    global batch: W ranks of N/W images compute the loss and the gradients of one process with N images. With gradient
    accumulation each micro-batch has only its own images as negatives and neighbours: k micro-batches of N are not one
    batch of k N.

    Args:
        backbone: any module mapping images to ``(B, C, H, W)``; default: the paper's, ``FaceBackbone(width=1.0)``.
        face_contrast: contrast of the non-pose face features; default: NPA, T = 1, alpha = 10, beta = 1.0.
        pose_contrast: contrast of the pose features; default: NPA, T = 1, alpha = 10, beta = 0.2.
        orthogonality: reading of Eq. 2; default: per sample.
        task_weights: alpha_face and alpha_pose of Eq. 8; default: DWA with temperature 2.
        image_size: side of the square views in pixels.
        projection_dim: length of z_f and z_p (paper: 512).
        input_noise: standard deviation of Gaussian noise added to the PDD inputs, targets stay clean (0: off, public
            PCL code: 0.4).
        compile_network: compile the backbone, the subnets and the decoder with ``torch.compile``.

    Raises:
        ValueError: a negative ``input_noise``, or mirrored negatives in ``face_contrast``.
    """

    def __init__(
        self,
        backbone: nn.Module | None = None,
        face_contrast: CalibratedContrast | None = None,
        pose_contrast: CalibratedContrast | None = None,
        orthogonality: Orthogonality | None = None,
        task_weights: TaskWeights | None = None,
        image_size: int = 64,
        projection_dim: int = 512,
        input_noise: float = 0.0,
        compile_network: bool = False,
    ) -> None:
        super().__init__()
        if input_noise < 0:
            raise ValueError(f"input_noise must be at least 0, got {input_noise}")
        save_described_hyperparameters(self)
        self.network = PCFRLNetwork(backbone or FaceBackbone(), image_size, projection_dim)
        self.face_contrast = face_contrast or CalibratedContrast(NPAThreshold(), Eq7(beta=1.0))
        self.pose_contrast = pose_contrast or CalibratedContrast(NPAThreshold(), Eq7(beta=0.2))
        if self.face_contrast.negatives.needs_mirrored:
            raise ValueError(
                f"face_contrast.negatives cannot be {type(self.face_contrast.negatives).__name__}: mirrored views are "
                "negatives of the pose, not of the face; use it in pose_contrast"
            )
        self.orthogonality = orthogonality or PerSampleOrthogonality()
        self.task_weights = task_weights or DWA()
        self.input_noise = input_noise
        self.compile_network = compile_network
        self._broken_steps = torch.zeros(())

    def setup(self, stage: str) -> None:
        """Share batch statistics over ranks, choose the memory format, compile if asked."""
        if self.trainer.world_size > 1:
            sync_batch_norm(self.network, self.trainer.strategy.root_device.type)
        self.network.to(memory_format=torch.channels_last)
        if self.compile_network and stage == "fit":
            for part in (
                self.network.backbone,
                self.network.face_subnet,
                self.network.pose_subnet,
                self.network.decoder,
            ):
                part.compile()

    def forward(self, images: Tensor) -> Tensor:
        """F_s, the feature of every linear evaluation: ``(B, 3, H, W)`` in [0, 1] to ``(B, C * h * w)``."""
        return self.network.backbone(images).flatten(1)

    def on_train_epoch_start(self) -> None:
        """Tell the calibrators which epoch begins."""
        for head in (self.face_contrast, self.pose_contrast):
            head.calibrator.begin_epoch(self.current_epoch)
        self._broken_steps = torch.zeros((), device=self.device)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One step of Eq. 8; logs every part."""
        pdd, face, pose, stats = self.losses(batch)
        tasks = torch.stack([face.loss + face.calibrated_loss, pose.loss + pose.calibrated_loss])
        self.task_weights.observe(tasks)
        loss = pdd + (self.task_weights.weights * tasks).sum()
        alpha = self.task_weights.weights
        self._broken_steps += ~loss.detach().isfinite()
        stats |= {"loss": loss, "alpha_face": alpha[0], "alpha_pose": alpha[1]}
        stats |= head_stats("face", face) | head_stats("pose", pose)
        images = len(batch["source"])
        self.log_dict({f"train/{name}_step": value.detach() for name, value in stats.items()}, batch_size=images)
        epoch = {f"train/{name}_epoch": value.detach() for name, value in stats.items()}
        # ranks are averaged once, when the epoch ends
        self.log_dict(epoch, on_step=False, on_epoch=True, sync_dist=True, batch_size=images)
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=images)
        return loss

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, ContrastOutput, ContrastOutput, dict[str, Tensor]]:
        """L_PDD, the face contrast, the pose contrast, and the parts of L_PDD for the log."""
        network, pair = self.network, 2 * len(batch["source"])
        maps = self.encode_views(batch)
        f_p_views, f_p_pdd = network.pose_subnet(maps[: 2 * pair]).flatten(1).split(pair)
        f_f_pdd, f_f_views = network.face_subnet(maps[pair:]).flatten(1).split(pair)
        reconstruction = self.reconstruction(batch, f_f_pdd, f_p_pdd)
        orthogonality = sum(
            (self.orthogonality(f_f, f_p) for f_f, f_p in zip(f_f_pdd.chunk(2), f_p_pdd.chunk(2), strict=True)),
            start=reconstruction.new_zeros(()),
        )
        face = self.face_contrast(*network.project_face(f_f_views).chunk(2))
        z_p, mirrored = self.project_pose_views(f_p_views, batch)
        pose = self.pose_contrast(*z_p.chunk(2), mirrored)
        return (
            reconstruction + orthogonality,
            face,
            pose,
            {"reconstruction": reconstruction, "orthogonality": orthogonality},
        )

    def encode_views(self, batch: dict[str, Tensor]) -> Tensor:
        """Backbone maps ``(6 N, C, h, w)`` of all views in the order of ``VIEW_ORDER``, in one pass."""
        views = {name: batch[name] for name in VIEW_ORDER}
        if self.input_noise:
            for name in ("source", "target"):
                views[name] = views[name] + self.input_noise * torch.randn_like(views[name])
        return self.network.backbone(torch.cat(list(views.values())).contiguous(memory_format=torch.channels_last))

    def project_pose_views(self, f_p: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """z_p of the pose views (2 N, d) and, where the pose contrast uses them, of the mirrored views (N, K, d)."""
        if not self.pose_contrast.negatives.needs_mirrored:
            return self.network.project_pose(f_p), None
        images = batch.get("pose_negatives")
        if images is None:
            name = type(self.pose_contrast.negatives).__name__
            raise UsageError(
                f"model.pose_contrast.negatives {name} needs data.views PCLViews, which mirrors the images"
            )
        maps = self.network.backbone(images.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        mirrored = self.network.pose_subnet(maps).flatten(1)
        # one pass, so that batch statistics tell the mirrored views from the others by nothing
        z_p, z_mirrored = self.network.project_pose(torch.cat([f_p, mirrored])).split([len(f_p), len(mirrored)])
        return z_p, z_mirrored.unflatten(0, images.shape[:2])

    def reconstruction(self, batch: dict[str, Tensor], f_f: Tensor, f_p: Tensor) -> Tensor:
        """Eq. 1: all four combinations of face and pose features of s and s_hat, in one decoder pass."""
        (face, face_hat), (pose, pose_hat) = f_f.chunk(2), f_p.chunk(2)
        images = self.network.reconstruct(
            torch.cat([face, face, face_hat, face_hat]), torch.cat([pose, pose_hat, pose, pose_hat])
        )
        return reconstruction_loss(batch["source"], batch["target"], images.unflatten(0, (4, -1)))

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Features of plain images ``{"image": uint8 (N, 3, S, S), "index": (N,)}``, on the CPU in float32."""
        features = self.network.encode(batch["image"].float() / 255)._asdict()
        return {"index": batch["index"].cpu()} | {name: value.float().cpu() for name, value in features.items()}

    def on_train_epoch_end(self) -> None:
        """Update DWA from the epoch means over all ranks; say so when its bound had to act.

        Raises:
            UsageError: a loss of the epoch was not finite. The checkpoint of the epoch before is kept.
        """
        broken = int(all_reduce_sum_no_grad(self._broken_steps))
        if broken:
            raise UsageError(
                f"the loss was not finite in {broken} steps of epoch {self.current_epoch}: lower optimizer.lr, or set "
                "trainer.gradient_clip_val; the checkpoint of the epoch before is untouched"
            )
        bounded = self.task_weights.end_epoch()
        self.log("train/dwa_bounded", bounded.float().sum(), sync_dist=True)  # equal on all ranks

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, lr 1e-4, betas (0.9, 0.999), cosine annealing over the run (paper 4.1); a yaml may inject others."""
        return scheduled(self, torch.optim.Adam(self.parameters(), lr=1e-4))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the random state, so that a resumed run continues exactly."""
        checkpoint["rng_state"] = rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the random state of the interrupted run."""
        if "rng_state" in checkpoint:
            restore_rng(checkpoint["rng_state"])


def head_stats(name: str, output: ContrastOutput) -> dict[str, Tensor]:
    """Name the losses and statistics of one head for the log."""
    losses = {f"{name}/loss": output.loss, f"{name}/calibrated_loss": output.calibrated_loss}
    return losses | {f"{name}/{key}": value for key, value in output.stats.items()}
