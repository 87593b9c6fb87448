"""``pcfrl bench step``: the real training step, in parts."""

import warnings
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.bench.arithmetic import machine_rates, medians, multiply_adds
from pcfrl_lightning.bench.batches import view_batch
from pcfrl_lightning.bench.memory import peak_process_bytes
from pcfrl_lightning.bench.parts import FORWARD_PARTS, WARM_UP, StepParts
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.networks import FaceBackbone

PRECISIONS = {"bf16": ("bf16-mixed", torch.bfloat16), "fp32": ("32-true", torch.float32)}


@dataclass(frozen=True)
class StepOptions:
    """What to measure.

    ``batch_size`` images (at least 2), ``width`` of the backbone, ``image_size`` in pixels, ``precision`` a key of
    ``PRECISIONS``, ``steps`` timed ones (at least 1), ``compile`` the network or not.
    """

    device: torch.device
    batch_size: int = 32
    width: float = 1.0
    image_size: int = 64
    precision: str = "bf16"
    steps: int = 10
    compile: bool = False


def measure_step(options: StepOptions) -> dict[str, Any]:
    """Run the Trainer on one batch over and over; medians over the timed steps.

    Returns:
        ``images_per_second``; ``seconds`` of each part (see :class:`~pcfrl_lightning.bench.parts.StepParts`; ``other``
        is the rest of the forward pass: subnets, orthogonality, logging; ``data`` is one worker making a batch);
        ``contrast_share`` (forward and backward of both heads over the step); ``step_seconds`` of every timed step;
        ``peak_memory_bytes``; ``multiply_adds`` of forward and backward; ``flops_per_second``; ``machine`` FLOP/s;
        ``share_of_machine``; ``host_syncs`` inside ``training_step``.
    """
    torch.manual_seed(0)
    lightning_precision, dtype = PRECISIONS[options.precision]
    batch, data_seconds = view_batch(options.batch_size, options.image_size, options.device)
    module = PCFRL(FaceBackbone(options.width), image_size=options.image_size, compile_network=options.compile).to(
        options.device
    )
    operations = _step_operations(module, batch, dtype)
    parts = _run(module, batch, options, lightning_precision)
    memory = peak_process_bytes(options.device)
    seconds = medians(parts.steps[WARM_UP:])
    seconds["other"] = seconds["forward"] - sum(seconds[part] for part in FORWARD_PARTS)
    seconds["data"] = sorted(data_seconds)[len(data_seconds) // 2]
    rates = machine_rates(options.device, dtype)
    flops = 2 * operations / seconds["step"]
    return {
        "images_per_second": options.batch_size / seconds["step"],
        "seconds": seconds,
        "contrast_share": seconds["heads"] / seconds["step"],
        "step_seconds": [row["step"] for row in parts.steps[WARM_UP:]],
        "peak_memory_bytes": memory,
        "multiply_adds": operations,
        "flops_per_second": flops,
        "machine": rates,
        "share_of_machine": flops / max(rates.values()),
        "host_syncs": parts.host_syncs,
    }


def _step_operations(module: PCFRL, batch: dict[str, Tensor], dtype: torch.dtype) -> int:
    """Multiply-adds of one forward and backward pass, before anything is compiled."""

    def step() -> None:
        with torch.autocast(batch["source"].device.type, dtype, enabled=dtype != torch.float32):
            pdd, face, pose, _ = module.losses(batch)
        (pdd + face.loss + face.calibrated_loss + pose.loss + pose.calibrated_loss).backward()

    operations = multiply_adds(step)
    module.zero_grad(set_to_none=True)
    return operations


def _run(module: PCFRL, batch: dict[str, Tensor], options: StepOptions, precision: str) -> StepParts:
    parts = StepParts(options.device)
    parts.attach(module)
    if options.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer = L.Trainer(
        accelerator="gpu" if options.device.type == "cuda" else options.device.type,
        devices=[options.device.index or 0] if options.device.type == "cuda" else 1,
        precision=precision,  # type: ignore[arg-type]
        max_epochs=1,
        callbacks=[parts],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # the same batch each time, whole and on the device already: making it is timed by itself
    loader: DataLoader = DataLoader([batch] * (WARM_UP + options.steps), batch_size=None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a loader without workers
        trainer.fit(module, train_dataloaders=loader)
    return parts
