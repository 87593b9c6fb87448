"""Where a measurement was made, its tables and its JSON file."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import lightning as L
import torch


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, processor, threads, and the load of the machine in the minute before (other work spoils times)."""
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "lightning": L.__version__,
        "python": platform.python_version(),
        "device": device.type,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write figures, six significant digits."""
    path.write_text(json.dumps(_rounded(content), indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def step_text(result: dict[str, Any]) -> str:
    """The table of ``pcfrl bench step``."""
    seconds, total = result["seconds"], result["seconds"]["step"]
    rows = [
        ("whole step", "step"),
        ("  forward", "forward"),
        ("    encoder, six views", "encoder"),
        ("    decoder and Eq. 1", "decoder"),
        ("    projectors", "projectors"),
        ("    NPA, calibration, Eq. 6 and 7", "contrast"),
        ("    subnets, Eq. 2, logging", "other"),
        ("  backward", "backward"),
        ("  optimiser", "optimizer"),
        ("heads alone, forward + backward", "heads"),
        ("data: one worker, a batch of views", "data"),
        ("processor time of all threads", "cpu"),
    ]
    lines = [f"{name:<36}{seconds[key]:>10.4f} s {seconds[key] / total:>7.1%}" for name, key in rows]
    machine = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in result["machine"].items())
    return "\n".join(
        [
            f"{result['images_per_second']:.2f} images/s",
            *lines,
            f"peak memory {result['peak_memory_bytes'] / 2**20:.0f} MiB",
            f"{result['multiply_adds'] / 1e9:.1f} G multiply-adds, {result['flops_per_second'] / 1e9:.1f} GFLOP/s = "
            f"{result['share_of_machine']:.0%} of the machine's best ({machine} GFLOP/s)",
            f"host synchronisations in training_step: {', '.join(result['host_syncs']) or 'none'}",
        ]
    )


def npa_text(rows: list[dict[str, Any]]) -> str:
    """The table of ``pcfrl bench npa``: milliseconds, ratios, peak extra memory in M^2 floats."""
    head = (
        f"{'M':>6}{'InfoNCE':>11}{'calibrated':>12}{'ratio':>7}{'fastest':>9}{'pairs':>7}"
        f"{'PA closed':>12}{'PA by S S':>12}{'ratio':>7}{'memory: InfoNCE':>17}{'calibrated':>12}"
    )
    lines = [head]
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
