"""Time stamps that are right on CPU and on CUDA, and interleaved comparisons."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch


class Clock:
    """Time stamps on a device: wall clock on the CPU, events on CUDA (no wait between two stamps)."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def stamp(self) -> Any:
        """Now, in the order of the work given to the device."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Wait until the device has done its work; needed before :meth:`seconds`."""
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds from one stamp to another."""
        return start.elapsed_time(end) / 1000.0 if self.cuda else end - start

    def time(self, function: Callable[[], object]) -> float:
        """Seconds of one call."""
        start = self.stamp()
        function()
        end = self.stamp()
        self.wait()
        return self.seconds(start, end)


def interleaved(
    clock: Clock,
    contenders: Mapping[str, Callable[[], object]],
    budget: float,
    least: int = 5,
    most: int = 200,
) -> dict[str, list[float]]:
    """Time contenders in turn, so that a disturbance of the machine meets all of them.

    Args:
        clock: of the device they run on.
        contenders: name -> function; each is called once before the timing.
        budget: seconds for all rounds; a round is one call of each.
        least: rounds at least, whatever the budget.
        most: rounds at most.

    Returns:
        name -> seconds of each round.
    """
    for function in contenders.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    begin = time.perf_counter()
    for done in range(most):
        if done >= least and time.perf_counter() - begin > budget:
            break
        for name, function in contenders.items():
            times[name].append(clock.time(function))
    return times


def paired_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over the rounds of numerator / denominator of the same round."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))
