"""Arithmetic of a step, and how fast the machine could do it at best."""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pcfrl_lightning.bench.clock import Clock


def multiply_adds(function: Callable[[], object]) -> int:
    """Multiply-adds of all matrix products and convolutions of a call, from their shapes, the backward included."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2


def machine_rates(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> dict[str, float]:
    """FLOP/s of a large matrix product and of the trunk's largest kind of 3x3 convolution, forward, best of a few.

    The larger of the two is the floor under any step: no arrangement of the same arithmetic can be faster.
    """
    clock = Clock(device)
    size = 8192 if device.type == "cuda" else 2048
    batch = 1024 if device.type == "cuda" else 64
    kind: dict[str, Any] = {"device": device, "dtype": dtype}
    a, b = torch.randn(size, size, **kind), torch.randn(size, size, **kind)
    conv = torch.nn.Conv2d(128, 128, 3, padding=1, **kind).to(memory_format=torch.channels_last)
    maps = torch.randn(batch, 128, 16, 16, **kind).to(memory_format=torch.channels_last)
    with torch.no_grad():
        rates = {}
        for name, function in {"matmul": lambda: a @ b, "conv3x3": lambda: conv(maps)}.items():
            flops = 2 * multiply_adds(function)
            rates[name] = flops / min(clock.time(function) for _ in range(repeats))
    return rates


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Median of each key over the rows."""
    return {key: median(row[key] for row in rows) for key in rows[0]}
