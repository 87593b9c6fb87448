"""The public recipe of PCL: three optimiser steps for each batch, one a task."""

from typing import NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning.errors import UsageError, near
from pcfrl_lightning.heads import ContrastOutput
from pcfrl_lightning.methods.base import channels_last
from pcfrl_lightning.methods.pcfrl import PCFRL

Stats = dict[str, Tensor]


class Task(NamedTuple):
    """One of the three: its ``loss`` as it is stepped on, without weight in ``raw``, and its statistics."""

    loss: Tensor
    raw: Tensor
    stats: Stats


class PCLThreeSteps(PCFRL):
    """The losses of PCFRL in the three steps of the public PCL code: reconstruction and orthogonality, then the
    contrast of faces, then that of poses, each with its own forward and backward pass and step of one shared optimiser.

    The pose contrast takes the first images of a batch alone, as many as have mirrored views (``pose_images`` of
    `PCLViews`, 10 in the public code). As there, the K mirrored views of n images are stacked copy by copy and cut into
    n groups, so that the K negatives of an anchor show all n images; `PCFRL` keeps them with their image. The public
    code draws other images for each of the three steps; here they are those of one batch.

    A batch counts as three in ``trainer.max_steps``. A step leaves weights alone that its task does not use, so that
    several processes need ``--trainer.strategy ddp_find_unused_parameters_true``.

    Args: see :class:`~pcfrl_lightning.methods.PCFRL`.
    """

    optimizer_steps = 3

    @property  # type: ignore[misc]  # Lightning's has a setter
    def automatic_optimization(self) -> bool:
        """False: the method takes its steps itself."""
        return False

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Stats]:
        """The sum of the three losses at the present weights, without a step."""
        return self._together([task(batch) for task in (self.disentangling, self.face_task, self.pose_task)])

    def step(self, batch: dict[str, Tensor]) -> tuple[Tensor, Stats]:
        """One step of the optimiser for each task; losses and statistics are those before their own step."""
        optimizer = self.optimizers()
        found = []
        for task in (self.disentangling, self.face_task, self.pose_task):
            result = task(batch)
            optimizer.zero_grad()  # type: ignore[union-attr]
            self.manual_backward(result.loss)
            optimizer.step()  # type: ignore[union-attr]
            found.append(Task(result.loss.detach(), result.raw.detach(), result.stats))
        return self._together(found)

    def disentangling(self, batch: dict[str, Tensor]) -> Task:
        """Eq. 1 and 2 of the image and its mirror image, both with noise."""
        network = self.network
        images = torch.cat([batch["source"], batch["target"]])
        noisy = images + self.input_noise * torch.randn_like(images) if self.input_noise else images
        maps = network.backbone(channels_last(noisy))
        f_f, f_p = network.face_subnet(maps).flatten(1), network.pose_subnet(maps).flatten(1)
        reconstruction = self.reconstruction(batch, f_f, f_p)
        pairs = zip(f_f.chunk(2), f_p.chunk(2), strict=True)
        orthogonality = torch.stack([self.orthogonality(*pair) for pair in pairs]).sum()
        loss = reconstruction + orthogonality
        return Task(loss, loss, {"reconstruction": reconstruction.detach(), "orthogonality": orthogonality.detach()})

    def face_task(self, batch: dict[str, Tensor]) -> Task:
        """Contrast of the face views, times alpha_face."""
        network = self.network
        maps = network.backbone(channels_last(torch.cat([batch["face_1"], batch["face_2"]])))
        z_f = network.project_face(network.face_subnet(maps).flatten(1))
        return self._weighted(0, "face", self.face_contrast(*z_f.chunk(2)))

    def pose_task(self, batch: dict[str, Tensor]) -> Task:
        """Contrast of the pose views of the images that have mirrored views, times alpha_pose."""
        images = len(batch.get("pose_negatives", batch["pose_1"]))
        views = torch.cat([batch["pose_1"][:images], batch["pose_2"][:images]])
        f_p = self.network.pose_subnet(self.network.backbone(channels_last(views))).flatten(1)
        z_p, mirrored = self.project_pose_views(f_p, batch)
        if mirrored is not None:
            mirrored = regrouped(mirrored)
        return self._weighted(1, "pose", self.pose_contrast(*z_p.chunk(2), mirrored))

    def end_epoch(self, means: Stats) -> None:
        """Update the task weights and the learning rate, which Lightning leaves to a method that steps by itself."""
        super().end_epoch(means)
        known = self.trainer.callback_metrics
        for scheduler in (config.scheduler for config in self.trainer.lr_scheduler_configs):
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            name = getattr(scheduler, "monitor", "train/loss_epoch")  # that of the command line has one
            if plateau and name not in known:
                raise UsageError(f"lr_scheduler.monitor {name} is not in the log{near(name, known)}")
            self.lr_scheduler_step(scheduler, known[name] if plateau else None)

    def _weighted(self, index: int, name: str, output: ContrastOutput) -> Task:
        raw, alpha = output.loss + output.calibrated_loss, self.task_weights.weights[index]
        return Task(alpha * raw, raw, output.named(f"{name}/") | {f"alpha_{name}": alpha.detach()})

    def _together(self, tasks: list[Task]) -> tuple[Tensor, Stats]:
        self.task_weights.observe(torch.stack([task.raw for task in tasks[1:]]))
        stats = {name: value for task in tasks for name, value in task.stats.items()}
        return torch.stack([task.loss for task in tasks]).sum(), stats


def regrouped(mirrored: Tensor) -> Tensor:
    """K views of each of n images, (n, K, d), stacked copy by copy and cut into n groups of K."""
    return mirrored.transpose(0, 1).reshape(mirrored.shape)
