"""Pair alignment and the calibrated losses against plain InfoNCE and against the form ``S @ S``.

python benchmarks/npa.py --threads 2 --budget 6 --json benchmarks/npa_2threads.json
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from pcfrl_lightning import functional as F
from pcfrl_lightning.bench.report import environment, write_json
from pcfrl_lightning.cli.bench import add_common, positive
from pcfrl_lightning.heads import AdaptiveThreshold, CalibratedContrast, Eq7, NPAThreshold

ALPHA = 10.0
TEMPERATURE = 0.07
CALIBRATED_SHARE = 0.1  # of the anchors; the threshold is chosen so
BYTES = 4  # float32


def main(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """One row per number of views M; a table on standard output, JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [128, 256, 512, 1024, 2048, 4096, 8192]
    parser.add_argument("--sizes", type=views, nargs="+", default=sizes, help="numbers of views M (128 ... 8192)")
    parser.add_argument("--dim", type=positive, default=512, help="length of the features (default 512)")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of timing per size (default 10)")
    add_common(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    facts = environment(options.device)
    rows = [measure(size, options.dim, options.device, options.budget) for size in options.sizes]
    print(text(rows))
    if options.json is not None:
        asked = {"sizes": options.sizes, "dim": options.dim, "budget": options.budget, "threads": options.threads}
        write_json(options.json, {"benchmark": "npa", "options": asked, "environment": facts, "result": rows})
    return rows


def measure(size: int, dim: int, device: torch.device, budget: float) -> dict[str, Any]:
    """Medians over rounds in which every contender runs once, so that a disturbance of the machine meets all of them.

    Returns:
        ``seconds`` (medians), ``fastest_seconds`` and ``extra_floats_per_m2`` (peak extra memory in units of M^2
        floats) of ``infonce`` and ``calibrated`` (forward and backward), ``pa_closed`` and ``pa_s_s`` (forward only);
        ``calibrated_over_infonce`` and ``s_s_over_closed``: medians of the ratios within a round;
        ``fastest_over_fastest``: calibrated over InfoNCE.
    """
    first, second = clustered_views(size // 2, dim, device)
    unit = F.normalize(torch.cat([first, second]).detach())
    similarity = unit @ unit.T
    weight = F.neighborhood_weight(ALPHA, size)
    head = calibrating_head(first, second)
    contenders: dict[str, Callable[[], object]] = {
        "infonce": lambda: torch.autograd.grad(infonce(first, second), (first, second)),
        "calibrated": lambda: torch.autograd.grad(both_losses(head, first, second), (first, second)),
        "pa_closed": lambda: F.alignment_scores(unit, unit, similarity, weight),
        "pa_s_s": lambda: (1 - 2 * weight) * similarity + weight * (similarity @ similarity),
    }
    timers = {
        name: Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
        for name, call in contenders.items()
    }
    round_seconds = sum(timer.timeit(1).mean for timer in timers.values())
    rounds = min(200, max(5, int(budget / round_seconds)))
    table = [{name: timer.timeit(1).mean for name, timer in timers.items()} for _ in range(rounds)]
    times = {name: [row[name] for row in table] for name in timers}
    fastest = {name: min(values) for name, values in times.items()}
    return {
        "M": size,
        "rounds": rounds,
        "seconds": {name: median(values) for name, values in times.items()},
        "fastest_seconds": fastest,
        "extra_floats_per_m2": {
            name: peak_extra_bytes(call, device) / BYTES / size**2 for name, call in contenders.items()
        },
        "calibrated_pairs": int(head(first, second).stats["calibrated"]),
        "calibrated_over_infonce": median(row["calibrated"] / row["infonce"] for row in table),
        "fastest_over_fastest": fastest["calibrated"] / fastest["infonce"],
        "s_s_over_closed": median(row["pa_s_s"] / row["pa_closed"] for row in table),
    }


def clustered_views(images: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two views (N, d) of each image, images in groups of about eight that resemble each other."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(-(-images // 8), dim, generator=generator).repeat(8, 1)[:images]
    first, second = (
        (groups + torch.randn(images, dim, generator=generator)).to(device).requires_grad_() for _ in range(2)
    )
    return first, second


def calibrating_head(first: Tensor, second: Tensor) -> CalibratedContrast:
    """The method's head with the threshold that calibrates a tenth of the anchors of these views."""
    adaptive = AdaptiveThreshold("quantile", 1 - CALIBRATED_SHARE, alpha=ALPHA)
    threshold = CalibratedContrast(adaptive, Eq7())(first, second).calibration.threshold.item()
    return CalibratedContrast(NPAThreshold(threshold, alpha=ALPHA), Eq7(), TEMPERATURE)


def infonce(first: Tensor, second: Tensor) -> Tensor:
    """InfoNCE in its usual form: cross-entropy over the cosines with all other views, the twin being the class."""
    unit = torch.nn.functional.normalize(torch.cat([first, second]))
    logits = (unit @ unit.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    twins = torch.arange(len(unit), device=unit.device).roll(len(first))
    return torch.nn.functional.cross_entropy(logits, twins)


def both_losses(head: CalibratedContrast, first: Tensor, second: Tensor) -> Tensor:
    output = head(first, second)
    return output.loss + output.calibrated_loss


def peak_extra_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Largest amount of tensor memory alive at once during a call, beyond what was alive before it.

    CUDA: the caching allocator's statistics. CPU: the allocations and releases that PyTorch's profiler records.
    """
    call()  # what only the first call allocates is not its memory
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    results = profiler.profiler.kineto_results if profiler.profiler else None
    if results is None:
        raise RuntimeError("the PyTorch profiler returned no memory events")
    alive = peak = 0
    for event in sorted(results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak


def text(rows: Sequence[dict[str, Any]]) -> str:
    """Milliseconds, ratios, peak extra memory in M^2 floats."""
    lines = [
        f"{'M':>6}{'InfoNCE':>11}{'calibrated':>12}{'ratio':>7}{'fastest':>9}{'pairs':>7}"
        f"{'PA closed':>12}{'PA by S S':>12}{'ratio':>7}{'memory: InfoNCE':>17}{'calibrated':>12}"
    ]
    for row in rows:
        ms = {name: 1000 * value for name, value in row["seconds"].items()}
        extra = row["extra_floats_per_m2"]
        lines.append(
            f"{row['M']:>6}{ms['infonce']:>8.2f} ms{ms['calibrated']:>9.2f} ms{row['calibrated_over_infonce']:>7.2f}"
            f"{row['fastest_over_fastest']:>9.2f}{row['calibrated_pairs']:>7}"
            f"{ms['pa_closed']:>9.2f} ms{ms['pa_s_s']:>9.2f} ms{row['s_s_over_closed']:>7.2f}"
            f"{extra['infonce']:>14.2f} M2{extra['calibrated']:>9.2f} M2"
        )
    return "\n".join(lines)


def views(value: str) -> int:
    if int(value) < 8 or int(value) % 2:
        raise argparse.ArgumentTypeError(f"a number of views is even and at least 8, got {value}")
    return int(value)


if __name__ == "__main__":
    main(sys.argv[1:])
