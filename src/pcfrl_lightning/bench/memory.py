"""Peak memory of a call and of the process."""

import resource
import sys
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_extra_bytes(function: Callable[[], object], device: torch.device) -> int:
    """Largest amount of tensor memory alive at once during a call, beyond what was alive before it.

    CUDA: the caching allocator's statistics. CPU: every allocation and release that PyTorch's profiler records, the
    temporaries inside operators included. Whatever the call returns is counted too.
    """
    function()  # what only the first call allocates is not its memory
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    kineto = profiler.profiler
    if kineto is None or kineto.kineto_results is None:
        raise RuntimeError("the PyTorch profiler returned no memory events")
    events = [event for event in kineto.kineto_results.events() if event.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def peak_process_bytes(device: torch.device) -> int:
    """CUDA: peak of allocated device memory since the last reset; CPU: peak resident memory of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
