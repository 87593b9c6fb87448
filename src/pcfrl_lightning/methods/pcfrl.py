"""PCFRL: PDD, two calibrated contrastive heads, DWA (paper section 3, Eq. 8)."""

from copy import deepcopy
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import UsageError, require
from pcfrl_lightning.functional import reconstruction_loss
from pcfrl_lightning.heads import CalibratedContrast, ContrastOutput, DelayedStart, Eq7, NPAThreshold
from pcfrl_lightning.methods.base import Method, channels_last
from pcfrl_lightning.methods.orthogonality import Orthogonality, PerSampleOrthogonality
from pcfrl_lightning.methods.task_weights import DWA, TaskWeights
from pcfrl_lightning.networks import PCFRLNetwork
from pcfrl_lightning.networks.pictures import Pictures

# Views in the order of the one backbone pass: pose features come from the first four, face features from the last four.
VIEW_ORDER = ("pose_1", "pose_2", "source", "target", "face_1", "face_2")


class Parts(NamedTuple):
    """The summands of Eq. 8 before weighting: L_PDD is ``reconstruction`` (Eq. 1) plus ``orthogonality`` (Eq. 2)."""

    reconstruction: Tensor
    orthogonality: Tensor
    face: ContrastOutput
    pose: ContrastOutput


class PCFRL(Method):
    """Pose-disentangled contrastive facial representation learning.

    ``L = L_PDD + alpha_pose (L_p + L'_p) + alpha_face (L_f + L'_f)`` (Eq. 8), one optimiser step, one backbone pass
    over all six views of the batch. Without arguments this is the paper's model with one change that was measured to be
    needed: calibration begins after six epochs, and a calibrated pair weighs as much as an ordinary one
    (docs/calibration.md). PCL is the same module with ``calibrator: NoCalibration``.

    Batches are dictionaries of float views in [0, 1], each ``(N, 3, S, S)``: ``source``, ``target``, ``face_1``,
    ``face_2``, ``pose_1``, ``pose_2``; and ``pose_negatives`` ``(N, K, 3, S, S)`` for ``MirroredNegatives``.

    Under DDP the negatives and the neighbourhood of NPA are the global batch, and batch statistics are those of the
    global batch: W ranks of N/W images compute the loss and the gradients of one process with N images. With gradient
    accumulation each micro-batch has only its own images as negatives and neighbours: k micro-batches of N are not one
    batch of k N.

    Args:
        backbone: any module mapping images to ``(B, C, H, W)``; default: the paper's, ``FaceBackbone(width=1.0)``.
        contrast: contrast of both the non-pose face features and the pose features; default: NPA from epoch 6 on,
            T = 1, alpha = 10, Eq. 7 with beta = 1.0 for the face and 0.2 for the pose.
        pose_beta: beta of the pair term of the pose, where it is not that of ``contrast``.
        face_contrast: contrast of the face alone, in place of ``contrast``.
        pose_contrast: contrast of the pose alone, in place of ``contrast`` and ``pose_beta``.
        orthogonality: reading of Eq. 2; default: per sample.
        task_weights: alpha_face and alpha_pose of Eq. 8; default: DWA with temperature 2.
        image_size: side of the square views in pixels.
        projection_dim: length of z_f and z_p (paper: 512).
        input_noise: standard deviation of Gaussian noise added to the PDD inputs, targets stay clean (0: off, public
            PCL code: 0.4).
        compile_network: compile the backbone, the subnets and the decoder with ``torch.compile``; default: on a GPU.

    Raises:
        ValueError: a negative ``input_noise``, ``pose_beta`` not above 0, or mirrored negatives of the face.
    """

    network: PCFRLNetwork
    views = VIEW_ORDER
    calibrators: ClassVar = {"face": "model.contrast.calibrator", "pose": "model.contrast.calibrator"}

    def __init__(
        self,
        backbone: nn.Module | None = None,
        contrast: CalibratedContrast | None = None,
        pose_beta: float | None = None,
        face_contrast: CalibratedContrast | None = None,
        pose_contrast: CalibratedContrast | None = None,
        orthogonality: Orthogonality | None = None,
        task_weights: TaskWeights | None = None,
        image_size: int = 64,
        projection_dim: int = 512,
        input_noise: float = 0.0,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        require(input_noise >= 0, f"input_noise must be at least 0, got {input_noise}")
        self.network = PCFRLNetwork(backbone, image_size, projection_dim)
        if contrast is None:
            contrast, pose_beta = default_contrast(), 0.2 if pose_beta is None else pose_beta
        self.face_contrast = face_contrast or deepcopy(contrast)
        self.pose_contrast = pose_contrast or with_beta(contrast, pose_beta)
        of_face = self.face_contrast.negatives
        require(
            not of_face.needs_mirrored,
            f"face_contrast.negatives cannot be {type(of_face).__name__}: mirrored views are negatives of the pose, "
            "not of the face; use it in pose_contrast",
        )
        self.orthogonality = orthogonality or PerSampleOrthogonality()
        self.task_weights = task_weights or DWA()
        self.input_noise = input_noise
        # what both heads became is kept under their own names
        self.contrast = self.pose_beta = None
        self.keep_arguments(self.network)

    def compiled_parts(self) -> list[nn.Module]:
        network = self.network
        return [network.backbone, network.face_subnet, network.pose_subnet, network.decoder]

    def forward(self, images: Tensor) -> Tensor:
        """F_s, the feature of every linear evaluation: ``(B, 3, H, W)`` in [0, 1] to ``(B, C * h * w)``."""
        return self.network.backbone(images).flatten(1)

    def swap_pose(self, faces: Pictures, poses: Pictures) -> Tensor:
        """The people of ``faces`` in the poses of ``poses``; see `PCFRLNetwork.swap_pose`."""
        return self.network.swap_pose(faces, poses)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 8 with the weights of the epoch, which record the losses for later epochs; and every part."""
        parts = self.parts(batch)
        face, pose, alpha = parts.face, parts.pose, self.task_weights.weights
        tasks = torch.stack([face.loss + face.calibrated_loss, pose.loss + pose.calibrated_loss])
        self.task_weights.observe(tasks)
        stats = {"reconstruction": parts.reconstruction, "orthogonality": parts.orthogonality}
        stats |= {"alpha_face": alpha[0], "alpha_pose": alpha[1], **face.named("face/"), **pose.named("pose/")}
        loss = parts.reconstruction + parts.orthogonality + (alpha * tasks).sum()
        return loss, {name: value.detach() for name, value in stats.items()}

    def parts(self, batch: dict[str, Tensor]) -> Parts:
        """Every summand of Eq. 8."""
        network, pair = self.network, 2 * len(batch["source"])
        maps = self.encode_views(batch)
        f_p_views, f_p_pdd = network.pose_subnet(maps[: 2 * pair]).flatten(1).split(pair)
        f_f_pdd, f_f_views = network.face_subnet(maps[pair:]).flatten(1).split(pair)
        reconstruction = self.reconstruction(batch, f_f_pdd, f_p_pdd)
        (f_f, f_f_hat), (f_p, f_p_hat) = f_f_pdd.chunk(2), f_p_pdd.chunk(2)
        orthogonality = self.orthogonality(f_f, f_p) + self.orthogonality(f_f_hat, f_p_hat)
        face = self.face_contrast(*network.project_face(f_f_views).chunk(2))
        z_p, mirrored = self.project_pose_views(f_p_views, batch)
        return Parts(reconstruction, orthogonality, face, self.pose_contrast(*z_p.chunk(2), mirrored))

    def encode_views(self, batch: dict[str, Tensor]) -> Tensor:
        """Backbone maps ``(6 N, C, h, w)`` of all views in the order of ``VIEW_ORDER``, in one pass."""
        views = {name: batch[name] for name in VIEW_ORDER}
        if self.input_noise:
            for name in ("source", "target"):
                views[name] = views[name] + self.input_noise * torch.randn_like(views[name])
        return self.network.backbone(channels_last(torch.cat(list(views.values()))))

    def project_pose_views(self, f_p: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """z_p of the pose views (2 N, d) and, where the pose contrast uses them, of the mirrored views (N, K, d)."""
        if not self.pose_contrast.negatives.needs_mirrored:
            return self.network.project_pose(f_p), None
        images = batch.get("pose_negatives")
        if images is None:
            name = type(self.pose_contrast.negatives).__name__
            raise UsageError(
                f"model.pose_contrast.negatives {name} needs data.views that mirror the images: PCLViews, or "
                "MirroredViews with pose_negatives"
            )
        maps = self.network.backbone(channels_last(images.flatten(0, 1)))
        mirrored = self.network.pose_subnet(maps).flatten(1)
        # one pass, so that both are normalised with the same batch statistics
        z_p, z_mirrored = self.network.project_pose(torch.cat([f_p, mirrored])).split([len(f_p), len(mirrored)])
        return z_p, z_mirrored.unflatten(0, images.shape[:2])

    def reconstruction(self, batch: dict[str, Tensor], f_f: Tensor, f_p: Tensor) -> Tensor:
        """Eq. 1: all four combinations of face and pose features of s and s_hat, in one decoder pass."""
        (face, face_hat), (pose, pose_hat) = f_f.chunk(2), f_p.chunk(2)
        images = self.network.reconstruct(
            torch.cat([face, face, face_hat, face_hat]), torch.cat([pose, pose_hat, pose, pose_hat])
        )
        return reconstruction_loss(batch["source"], batch["target"], images.unflatten(0, (4, -1)))

    def end_epoch(self, means: dict[str, Tensor]) -> None:
        """Update the task weights, and log when their bound acted."""
        bounded = self.task_weights.end_epoch()
        self.log("train/dwa_bounded", bounded.float().sum(), sync_dist=True)  # equal on all ranks

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out two sums that older checkpoints keep among the weights."""
        for name in ("total", "steps"):
            checkpoint["state_dict"].pop(f"task_weights.{name}", None)
        super().on_load_checkpoint(checkpoint)


def default_contrast() -> CalibratedContrast:
    """NPA of the paper, begun in epoch 6, with the calibrated loss divided by 2N."""
    return CalibratedContrast(DelayedStart(NPAThreshold(), start_epoch=6), Eq7(), calibrated_mean="anchors")


def with_beta(contrast: CalibratedContrast, beta: float | None) -> CalibratedContrast:
    """A copy, with another beta if one is given; pair terms without beta stay as they are."""
    require(beta is None or beta > 0, f"pose_beta must be > 0, got {beta}")
    copy = deepcopy(contrast)
    if beta is not None and hasattr(copy.pair_term, "beta"):
        setattr(copy.pair_term, "beta", beta)  # noqa: B010 (of the classes that have one)
    return copy
