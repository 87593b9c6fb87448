"""Where a measurement was made, its table and its JSON file."""

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
    """Write figures, six significant digits, into a folder that is created where it is absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(content), indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def step_text(result: dict[str, Any]) -> str:
    """The table of ``pcfrl bench step``."""
    seconds, parts = result["seconds"], result["forward_parts"]
    rows = [("whole step", seconds["step"]), ("  forward", seconds["forward"])]
    rows += [(f"    {name}", value) for name, value in parts.items()]
    rows += [("  backward", seconds["backward"]), ("  optimiser", seconds["optimizer"])]
    rows += [("heads alone, forward + backward", seconds["heads"]), ("data: one worker, a batch", seconds["data"])]
    lines = [f"{name:<36}{value:>10.4f} s {value / seconds['step']:>7.1%}" for name, value in rows]
    machine = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in result["machine"].items())
    return "\n".join(
        [
            f"{result['images_per_second']:.2f} images/s",
            *lines,
            f"peak memory {result['peak_memory_bytes'] / 2**20:.0f} MiB",
            f"{result['multiply_adds'] / 1e9:.1f} G multiply-adds, {result['flops_per_second'] / 1e9:.1f} GFLOP/s = "
            f"{result['share_of_machine']:.0%} of the machine's best ({machine} GFLOP/s)",
        ]
    )
