"""``pcfrl bench step``: time and memory of a training step. The other measurements are scripts in ``benchmarks/``."""

import argparse
from pathlib import Path

import torch

from pcfrl_lightning.bench.report import environment, step_text, write_json
from pcfrl_lightning.bench.step import PRECISIONS, StepOptions, measure_step
from pcfrl_lightning.cli.arguments import OneLineArguments, above_0, number, positive
from pcfrl_lightning.cli.messages import silence_advertisement


def main(arguments: list[str]) -> None:
    """Read the command line, measure, print a table, write JSON if asked."""
    parser = bench_parser()
    options = parser.parse_args(arguments)
    if options.compile is None:
        options.compile = options.device.type == "cuda"
    if options.batch_size is None:
        options.batch_size = 256 if options.device.type == "cuda" else 32
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.json is not None:  # a folder that cannot be created is reported before measuring
        options.json.parent.mkdir(parents=True, exist_ok=True)
        if options.json.is_dir():
            parser.error(f"--json {options.json} is a folder; give the name of a file in it")
    silence_advertisement()
    facts = environment(options.device)
    asked = {key: value for key, value in vars(options).items() if key not in ("json", "what", "device")}
    for described in (facts, asked):
        print("  ".join(f"{key} {value}" for key, value in described.items()))
    chosen = {key: value for key, value in asked.items() if key not in ("threads", "compare")}
    chosen["compare"] = options.compare is not None
    result = measure_step(StepOptions(device=options.device, **chosen))
    print(step_text(result))
    if options.json is not None:
        write_json(options.json, {"benchmark": "step", "options": asked, "environment": facts, "result": result})


def bench_parser() -> argparse.ArgumentParser:
    """Options of ``pcfrl bench``."""
    parser = OneLineArguments(prog="pcfrl bench", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True, metavar="step")
    step = kinds.add_parser("step", help="a whole training step, in parts")
    several = number(int, lambda size: size >= 2, "must be at least 2 (negatives come from another image)")
    step.add_argument("--batch-size", type=several, help="images per step (default 32; on CUDA 256)")
    step.add_argument("--width", type=above_0, default=1.0, help="channels, 1.0 = the paper's (default)")
    step.add_argument("--image-size", type=positive, default=64, help="side in pixels, 32 to 256 (default 64)")
    step.add_argument("--precision", choices=PRECISIONS, default="bf16", help="default bf16")
    step.add_argument("--steps", type=positive, default=10, help="timed steps (default 10)")
    compiled = "compile the network (default: on CUDA, as pcfrl fit)"
    step.add_argument("--compile", action=argparse.BooleanOptionalAction, help=compiled)
    step.add_argument("--compare", choices=["naive"], help="measure a plain reading of the public PCL iteration too")
    add_common(step)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every measurement."""
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--threads", type=positive, default=None, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures to FILE too")


def device(name: str) -> torch.device:
    """A device by name; ``auto`` is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda or cuda:N, got {name!r}")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("PyTorch sees no CUDA device here; use --device cpu")
    return found
