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
    return "\n".join([*_summary(result), "", *lines, memory, work, "", *_kernels(result)])


def _summary(result: dict[str, Any]) -> list[str]:
    """Steps of three kinds, the floor, and the baseline where it was measured."""
    images = result["images_per_second"] * result["trainer_step_seconds"]
    steps = {
        "bare step": result["bare_step_seconds"],
        "step in the Trainer": result["trainer_step_seconds"],
        "fit with data": images / result["fit_images_per_second"],
        "floor: at the rate of a 3x3 convolution": result["floor_seconds"],
    }
    if "naive_step_seconds" in result:
        steps["plain reading of the public iteration"] = result["naive_step_seconds"]
    lines = [f"{name:<42}{1000 * value:>10.1f} ms {images / value:>10.1f} images/s" for name, value in steps.items()]
    lines.append(f"{result['share_of_convolution_rate']:.0%} of the rate of a 3x3 convolution in the bare step")
    if "naive_step_seconds" in result:
        times = result["naive_step_seconds"] / result["trainer_step_seconds"]
        lines.append(f"{times:.1f} times the images/s of the plain reading (both without making views)")
    return lines


def _kernels(result: dict[str, Any]) -> list[str]:
    """Kinds of work, then the longest kernels of a bare step."""
    total = sum(result["kernel_groups"].values())
    lines = [f"{name:<18}{value / total:>7.1%}" for name, value in result["kernel_groups"].items()]
    longest = [(f"{each['name'][:48]:<50}", each) for each in result["kernels"]]
    return lines + [
        f"{name}{1000 * each['seconds']:>9.2f} ms {each['calls']:>5} calls  {each['group']}" for name, each in longest
    ]
