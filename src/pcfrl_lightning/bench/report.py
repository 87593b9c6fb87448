"""Where a measurement was made, its table and its JSON file."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from pcfrl_lightning.probes.results import hardware, versions


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, processor, threads, and the load of the machine in the minute before (other work spoils times)."""
    machine, known = hardware(), versions()
    facts: dict[str, Any] = {"torch": torch.__version__, "lightning": known["lightning"], "python": known["python"]}
    facts |= {"device": device.type, "cores": machine["cores"], "threads": machine["threads"]}
    facts |= {"cpu_capability": torch.backends.cpu.get_cpu_capability(), "load_before": round(os.getloadavg()[0], 2)}
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write figures, six significant digits, into a folder that is created where it is absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = json.loads(json.dumps(content), parse_float=lambda digits: float(f"{float(digits):.6g}"))
    path.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


def step_text(result: dict[str, Any]) -> str:
    """The table of ``pcfrl bench step``."""
    seconds, parts = result["seconds"], result["forward_parts"]
    rows = [("whole step", seconds["step"]), ("  forward", seconds["forward"])]
    rows += [(f"    {name}", value) for name, value in parts.items()]
    rows += [("  backward", seconds["backward"]), ("  optimiser", seconds["optimizer"])]
    rows += [("heads alone, forward + backward", seconds["heads"]), ("data: one worker, a batch", seconds["data"])]
    lines = [f"{name:<36}{value:>10.4f} s {value / seconds['step']:>7.1%}" for name, value in rows]
    machine = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in result["machine"].items())
    reached = f"{result['flops_per_second'] / 1e9:.1f} GFLOP/s = {result['share_of_machine']:.0%}"
    work = f"{result['multiply_adds'] / 1e9:.1f} G multiply-adds, {reached} of the machine's best ({machine} GFLOP/s)"
    memory = f"peak memory {result['peak_memory_bytes'] / 2**20:.0f} MiB"
    return "\n".join([f"{result['images_per_second']:.2f} images/s", *lines, memory, work])
