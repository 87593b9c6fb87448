"""Times the parts of a training step while the Trainer runs it."""

import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from pcfrl_lightning.bench.clock import Clock
from pcfrl_lightning.bench.host_sync import HostSyncs
from pcfrl_lightning.heads import CalibratedContrast
from pcfrl_lightning.methods.pcfrl import PCFRL

FORWARD_PARTS = ("encoder", "decoder", "projectors", "contrast")
WARM_UP = 2  # steps that are run and not counted


class StepParts(L.Callback):
    """Splits each step of a :class:`~pcfrl_lightning.methods.pcfrl.PCFRL` run into parts.

    ``steps`` holds one dictionary of seconds per step: ``step`` (begin of the batch to its end, the Trainer's own work
    and the logging included), ``forward``, of which ``encoder`` (the trunk on six views), ``decoder`` (four
    reconstructions and Eq. 1), ``projectors``, ``contrast`` (NPA, calibration, Eq. 6 and 7 of both branches), then
    ``backward`` and ``optimizer``; ``heads`` (forward AND backward of the contrast of both branches, run once more on
    its own after the step and not part of it); ``cpu`` (processor seconds of all threads during the step).

    ``host_syncs`` names the waits for the device found inside ``training_step`` of the last warm-up step (in the
    first, Lightning makes the tensors that its logging keeps).
    """

    def __init__(self, device: torch.device) -> None:
        self.clock = Clock(device)
        self.steps: list[dict[str, float]] = []
        self.host_syncs: list[str] = []
        self._stamps: dict[str, Any] = {}
        self._pieces: list[tuple[str, Any, Any]] = []
        self._views: dict[CalibratedContrast, tuple[Tensor, Tensor]] = {}
        self._cpu = 0.0

    def attach(self, module: PCFRL) -> None:
        """Put stop watches around the parts of the module."""
        network = module.network
        for owner, method, part in (
            (module, "encode_views", "encoder"),
            (module, "reconstruction", "decoder"),
            (network, "project_face", "projectors"),
            (network, "project_pose", "projectors"),
            (module.face_contrast, "forward", "contrast"),
            (module.pose_contrast, "forward", "contrast"),
        ):
            setattr(owner, method, self._timed(getattr(owner, method), part))
        for head in (module.face_contrast, module.pose_contrast):
            head.register_forward_pre_hook(self._remember)
        module.training_step = self._watched(module.training_step)  # type: ignore[method-assign]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin a step."""
        self._pieces.clear()
        self.clock.wait()
        self._cpu = time.process_time()
        self._stamps = {"begin": self.clock.stamp()}

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """End of the forward pass."""
        self._stamps["forward"] = self.clock.stamp()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End of the backward pass."""
        self._stamps["backward"] = self.clock.stamp()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End of the step; then the two contrastive heads alone."""
        self._stamps["end"] = self.clock.stamp()
        self.clock.wait()
        seconds, at = self.clock.seconds, self._stamps
        row = {
            "step": seconds(at["begin"], at["end"]),
            "forward": seconds(at["begin"], at["forward"]),
            "backward": seconds(at["forward"], at["backward"]),
            "optimizer": seconds(at["backward"], at["end"]),
            "cpu": time.process_time() - self._cpu,
        }
        for part in FORWARD_PARTS:
            row[part] = sum(seconds(start, end) for name, start, end in self._pieces if name == part)
        row["heads"] = self.clock.time(self._heads)
        self.steps.append(row)

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = self.clock.stamp()
            result = function(*args, **kwargs)
            self._pieces.append((part, start, self.clock.stamp()))
            return result

        return wrapper

    def _watched(self, training_step: Callable[..., Any]) -> Callable[..., Any]:
        """The last warm-up step runs under :class:`HostSyncs`, the others as they are."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if len(self.steps) != WARM_UP - 1:
                return training_step(*args, **kwargs)
            with HostSyncs() as syncs:
                result = training_step(*args, **kwargs)
            self.host_syncs = syncs.found
            return result

        return wrapper

    def _remember(self, head: torch.nn.Module, views: tuple[Tensor, Tensor]) -> None:
        assert isinstance(head, CalibratedContrast)
        self._views[head] = (views[0].detach(), views[1].detach())

    def _heads(self) -> None:
        for head, (first, second) in self._views.items():
            output = CalibratedContrast.forward(head, first.requires_grad_(), second.requires_grad_())
            (output.loss + output.calibrated_loss).backward()
            first.grad = second.grad = None
