"""``pcfrl bench step``: the real training step, in parts."""

import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.profilers.pytorch import RegisterRecordFunction
from torch import Tensor
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from pcfrl_lightning.bench import naive
from pcfrl_lightning.bench.kernels import by_group, kernels, profiled
from pcfrl_lightning.data import ArraySource, FaceData, FaceSet
from pcfrl_lightning.data.views.auto import AutoViews
from pcfrl_lightning.heads import CalibratedContrast, Eq7, NPAThreshold
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.synthetic.parameters import sample_face
from pcfrl_lightning.synthetic.render import render

PRECISIONS = {"bf16": ("bf16-mixed", torch.bfloat16), "fp32": ("32-true", torch.float32)}
TOP = 15  # kernels in the result
WARM_UP = 2  # steps that are run and not counted
_DISTINCT = 64  # pictures rendered; a larger batch repeats them, with other random views


@dataclass(frozen=True)
class StepOptions:
    """What to measure."""

    device: torch.device
    batch_size: int = 32  # at least 2
    width: float = 1.0  # of the backbone
    image_size: int = 64
    precision: str = "bf16"  # a key of `PRECISIONS`
    steps: int = 10  # timed ones, at least 1
    compile: bool = False  # the network
    compare: bool = False  # with a plain reading of the public iteration


def measure_step(options: StepOptions) -> dict[str, Any]:
    """Run the Trainer on one batch again and again, then time the parts of its step by themselves.

    Of the result: ``seconds`` holds ``step``, the median of the Trainer's steps, ``heads``, forward and backward of the
    contrastive heads on their own, and ``data``, one process making a batch of views and moving it to the device;
    ``forward_parts`` are seconds of each module of the network and each head, empty for a compiled network;
    ``multiply_adds`` are those of forward and backward; ``machine`` is in FLOP/s. ``bare_step_seconds`` is losses,
    backward and optimiser in a plain loop, ``trainer_step_seconds`` the same in the Trainer, ``fit_images_per_second``
    a run with a loader; ``floor_seconds`` what the step would take at the rate of a 3x3 convolution;
    ``naive_step_seconds``, if asked for, an iteration of `pcfrl_lightning.bench.naive`.
    """
    torch.manual_seed(0)
    device, dtype = options.device, PRECISIONS[options.precision][1]
    faces = rendered_faces(options.batch_size, options.image_size)
    make_batch = partial(_view_batch, options, faces)
    batch = make_batch()
    module = PCFRL(
        FaceBackbone(options.width),
        contrast=CalibratedContrast(NPAThreshold(), Eq7()),  # which calibrates from the first step on
        image_size=options.image_size,
        compile_network=options.compile,
    )
    operations = multiply_adds(lambda: _loss(module.to(device), batch, dtype).backward())
    module.zero_grad(set_to_none=True)
    steps = _train(module, batch, options)
    memory = _peak_memory(device)
    fit_images = _fit_rate(module, faces, options)
    # fit leaves the module on the CPU
    optimizer = torch.optim.Adam(module.to(device).parameters(), fused=device.type == "cuda")

    def bare_step() -> None:
        optimizer.zero_grad()
        _loss(module, batch, dtype).backward()
        optimizer.step()

    bare = _seconds(bare_step)
    found = kernels(bare_step, device)
    forward = _seconds(lambda: _loss(module, batch, dtype))
    both = _seconds(lambda: _loss(module, batch, dtype).backward())
    projected = torch.randn(2, options.batch_size, module.network.projection_dim, device=device, requires_grad=True)
    heads = [partial(_contrast, head, projected) for head in module.modules() if isinstance(head, CalibratedContrast)]
    seconds = {
        "step": median(steps),
        "forward": forward,
        "backward": both - forward,
        "optimizer": _seconds(optimizer.step),
        "heads": sum(_seconds(head) for head in heads),
        "data": _seconds(make_batch),
    }
    rates = machine_rates(device, dtype)
    flops = 2 * operations / seconds["step"]
    compared = {"naive_step_seconds": _naive_seconds(options, batch, dtype)} if options.compare else {}
    return {
        "bare_step_seconds": bare,
        "trainer_step_seconds": seconds["step"],
        "fit_images_per_second": fit_images,
        "floor_seconds": 2 * operations / rates["conv3x3"],
        "share_of_convolution_rate": 2 * operations / rates["conv3x3"] / bare,
        "kernels": [kernel._asdict() for kernel in found[:TOP]],
        "kernel_groups": by_group(found),
        **compared,
        "images_per_second": options.batch_size / seconds["step"],
        "seconds": seconds,
        "forward_parts": {} if options.compile else _forward_parts(module, batch, dtype),
        "contrast_share": seconds["heads"] / seconds["step"],
        "step_seconds": steps,
        "peak_memory_bytes": memory,
        "multiply_adds": operations,
        "flops_per_second": flops,
        "machine": rates,
        "share_of_machine": flops / max(rates.values()),
    }


def multiply_adds(function: Callable[[], object]) -> int:
    """Multiply-adds of all matrix products and convolutions of a call, from their shapes, the backward included."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2


def machine_rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """FLOP/s of a large matrix product and of the trunk's largest kind of 3x3 convolution, forward.

    No step can reach more than the larger of the two.
    """
    size, count = (8192, 1024) if device.type == "cuda" else (2048, 64)
    kind: dict[str, Any] = {"device": device, "dtype": dtype}
    a, b = torch.randn(size, size, **kind), torch.randn(size, size, **kind)
    conv = torch.nn.Conv2d(128, 128, 3, padding=1, **kind).to(memory_format=torch.channels_last)
    maps = torch.randn(count, 128, 16, 16, **kind).to(memory_format=torch.channels_last)
    with torch.no_grad():
        calls: dict[str, Callable[[], object]] = {"matmul": lambda: a @ b, "conv3x3": lambda: conv(maps)}
        return {name: 2 * multiply_adds(call) / _seconds(call, repeats=5) for name, call in calls.items()}


def rendered_faces(count: int, size: int) -> list[np.ndarray]:
    """``count`` faces (size, size, 3) uint8 of different people; at most 64 different ones."""
    faces = [render(sample_face(0, index, identity_id=index), size) for index in range(min(count, _DISTINCT))]
    return [faces[index % len(faces)] for index in range(count)]


def _view_batch(options: StepOptions, faces: list[np.ndarray]) -> dict[str, Tensor]:
    views = AutoViews(image_size=options.image_size)
    views.use_device(options.device)
    return views.make(faces, [(0, index) for index in range(len(faces))], device=options.device)


def _loss(module: PCFRL, batch: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
    with torch.autocast(batch["source"].device.type, dtype, enabled=dtype != torch.float32):
        return module.losses(batch)[0]


def _contrast(head: CalibratedContrast, projected: Tensor) -> None:
    output = head(*projected)
    (output.loss + output.calibrated_loss).backward()


def _train(module: PCFRL, batch: dict[str, Tensor], options: StepOptions) -> list[float]:
    """Seconds of the timed steps on one batch."""
    if options.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun: list[float] = []
    ended: list[float] = []
    # the same batch each time, whole and on the device already: making it is timed by itself
    loader: DataLoader = DataLoader([batch] * (WARM_UP + options.steps), batch_size=None)  # type: ignore[arg-type]
    clock = LambdaCallback(  # around the Trainer's own work and the logging too
        on_train_batch_start=lambda *_: begun.append(_now(options.device)),
        on_train_batch_end=lambda *_: ended.append(_now(options.device)),
    )
    _fit(module, loader, options, clock)
    return [end - begin for begin, end in zip(begun, ended, strict=True)][WARM_UP:]


class _Rendered(FaceData):
    """Images that are in memory already."""

    name = "rendered"

    def __init__(self, images: list[np.ndarray], batch_size: int, workers: int) -> None:
        size = images[0].shape[0]
        super().__init__(root=".", views=AutoViews(), image_size=size, batch_size=batch_size, num_workers=workers)
        self.pixels = np.stack(images)

    def build(self) -> dict[str, FaceSet]:
        source = ArraySource(self.pixels, [str(number) for number in range(len(self.pixels))])
        return {"train": FaceSet(source, {}, name="train")}


def _fit_rate(module: PCFRL, faces: list[np.ndarray], options: StepOptions) -> float:
    """Images per second of a run as of `pcfrl fit`, whose loader makes the views, after the first steps."""
    images = faces * (WARM_UP + options.steps)
    workers = min(14, torch.get_num_threads()) if options.device.type == "cuda" else 0
    times: list[float] = []

    def after_step(trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == WARM_UP:
            times.append(_now(options.device))

    clock = LambdaCallback(on_train_batch_end=after_step, on_train_end=lambda *_: times.append(_now(options.device)))
    _fit(module, _Rendered(images, options.batch_size, workers), options, clock)
    begun, ended = times
    return options.steps * options.batch_size / (ended - begun)


def _fit(module: PCFRL, data: DataLoader | FaceData, options: StepOptions, clock: L.Callback) -> None:
    kind, devices = ("gpu", [options.device.index or 0]) if options.device.type == "cuda" else ("cpu", 1)
    silent = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    more: dict[str, Any] = {"precision": PRECISIONS[options.precision][0], **dict.fromkeys(silent, False)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a loader without workers
        L.Trainer(accelerator=kind, devices=devices, max_epochs=1, callbacks=[clock], **more).fit(module, data)


def _naive_seconds(options: StepOptions, batch: dict[str, Tensor], dtype: torch.dtype) -> float:
    """Seconds of an iteration of the baseline on the same batch, at the same width and precision."""
    torch.manual_seed(0)
    shape = (min(naive.POSE_IMAGES, options.batch_size), naive.POSE_VIEWS, 3, options.image_size, options.image_size)
    mirrored = torch.rand(shape, device=options.device)
    network = PCFRLNetwork(FaceBackbone(options.width), options.image_size).to(options.device)
    step = naive.iteration(network, {**batch, "pose_negatives": mirrored}, dtype)
    return _seconds(step, repeats=1 if options.device.type == "cpu" else 3)


def _forward_parts(module: PCFRL, batch: dict[str, Tensor], dtype: torch.dtype) -> dict[str, float]:
    """Seconds by name of the modules right below the method and its network, over one forward pass."""
    device = batch["source"].device
    with RegisterRecordFunction(module):
        events = profiled(lambda: _loss(module, batch, dtype), device)
    found: dict[str, float] = {}
    for event in events:
        name = event.key.rpartition(": ")[2].removeprefix("network.")
        if event.key.startswith("[pl][module]") and "." not in name and name != "network":
            total = event.device_time_total if device.type == "cuda" else event.cpu_time_total
            found[name] = max(found.get(name, 0.0), total / 1e6)
    return found


def _seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of a call, the work on the device included."""
    timer = Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())
    timer.timeit(1)  # what only the first call does is not counted
    return median(timer.timeit(1).mean for _ in range(repeats))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_memory(device: torch.device) -> int:
    """CUDA: peak of allocated device memory since the last reset; CPU: peak resident memory of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
