"""What a step spends its time on: kernels of a GPU, operators on the CPU."""

import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

ELEMENTWISE = "elementwise"
_COMPILED = "## Call CompiledFxGraph"  # on the CPU, what torch.compile wrote itself
GROUPS = (  # the first whose pattern is found; names of torch.compile's programs list the operations that they join
    (ELEMENTWISE, "^triton_poi|^## call compiledfxgraph"),
    ("reductions", "^triton_(red|per)"),
    ("softmax", "softmax"),
    ("copies and casts", "copy|memcpy|memset|catarray|::cat|nchwtonhwc|nhwctonchw"),
    ("convolution", "conv|fprop|dgrad|wgrad|cudnn"),
    ("matrix product", "gemm|bmm|::mm|addmm|matmul|cutlass|nvjet|::linear"),
    ("reductions", "reduce|::sum|::mean|::amax|norm|argmax|topk"),
    (ELEMENTWISE, ""),  # everything else
)


class Kernel(NamedTuple):
    """Time in one step of all calls of a name."""

    name: str
    group: str
    seconds: float
    calls: int


def group(name: str) -> str:
    """Kind of work of a kernel or operator."""
    return next(kind for kind, pattern in GROUPS if re.search(pattern, name.lower()))


def profiled(step: Callable[[], object], device: torch.device) -> EventList:
    """Times of everything that one call does, summed by name."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiler:
        step()
        if cuda:
            torch.cuda.synchronize(device)
    return profiler.key_averages()


def kernels(step: Callable[[], object], device: torch.device) -> list[Kernel]:
    """Every kernel (CUDA) or operator without those that it calls (CPU) of one call, the longest first."""
    cuda = device.type == "cuda"
    wanted = DeviceType.CUDA if cuda else DeviceType.CPU
    found = []
    for event in profiled(step, device):
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        if event.device_type == wanted and own > 0 and (cuda or event.key.startswith(("aten::", _COMPILED))):
            found.append(Kernel(event.key, group(event.key), own / 1e6, event.count))
    return sorted(found, key=lambda kernel: -kernel.seconds)


def by_group(found: list[Kernel]) -> dict[str, float]:
    """Seconds of each kind of work, the longest first."""
    totals = dict.fromkeys((kind for kind, _ in GROUPS), 0.0)
    for kernel in found:
        totals[kernel.group] += kernel.seconds
    return dict(sorted(totals.items(), key=lambda item: -item[1]))
