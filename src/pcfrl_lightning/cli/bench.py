"""``pcfrl bench step|npa|probe|render``: a training step, pair alignment and losses, a linear probe, the renderer."""

import argparse
from pathlib import Path
from typing import Any

import torch

from pcfrl_lightning.bench.npa import measure_npa
from pcfrl_lightning.bench.probe import ProbeOptions, measure_probe, probe_text
from pcfrl_lightning.bench.rendering import measure_rendering, rendering_text
from pcfrl_lightning.bench.report import environment, npa_text, step_text, write_json
from pcfrl_lightning.bench.step import PRECISIONS, StepOptions, measure_step
from pcfrl_lightning.cli.display import silence_advertisement
from pcfrl_lightning.cli.messages import OneLineArguments


def main(arguments: list[str]) -> None:
    """Read the command line, measure, print a table, write JSON if asked."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = _device(parser, options.device)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is told before measuring
    if options.threads:
        torch.set_num_threads(options.threads)
    silence_advertisement()
    facts = environment(device)
    asked = {key: value for key, value in vars(options).items() if key not in ("json", "what")}
    for described in (facts, asked):
        print("  ".join(f"{key} {value}" for key, value in described.items()))
    measures = {"step": _step, "npa": _npa, "probe": _probe, "render": _render}
    result = measures[options.what](parser, options, device)
    if options.json is not None:
        write_json(options.json, {"benchmark": options.what, "options": asked, "environment": facts, "result": result})


def _step(parser: argparse.ArgumentParser, options: argparse.Namespace, device: torch.device) -> Any:
    if options.width <= 0:
        parser.error(f"--width must be above 0, got {options.width}")
    if options.batch_size < 2:
        parser.error(f"--batch-size must be at least 2 (negatives come from another image), got {options.batch_size}")
    result = measure_step(
        StepOptions(
            device,
            options.batch_size,
            options.width,
            options.image_size,
            options.precision,
            options.steps,
            options.compile,
        )
    )
    print(step_text(result))
    return result


def _npa(parser: argparse.ArgumentParser, options: argparse.Namespace, device: torch.device) -> Any:
    wrong = [size for size in options.sizes if size < 8 or size % 2]
    if wrong:
        parser.error(f"--sizes are numbers of views: even and at least 8, got {wrong[0]}")
    rows = measure_npa(options.sizes, options.dim, device, options.budget)
    print(npa_text(rows))
    return rows


def _probe(parser: argparse.ArgumentParser, options: argparse.Namespace, device: torch.device) -> Any:
    if device.type != "cpu":
        parser.error("the probe is measured on the CPU: give --device cpu")
    if options.rows < 100:
        parser.error(f"--rows must be at least 100, got {options.rows}")
    result = measure_probe(
        ProbeOptions(
            options.task, options.rows, options.dim, options.epochs, memory_gb=options.memory_gb, folder=options.folder
        )
    )
    print(probe_text(result))
    return result


def _render(parser: argparse.ArgumentParser, options: argparse.Namespace, device: torch.device) -> Any:
    try:
        result = measure_rendering(options.count, options.image_size)
    except ValueError as error:
        parser.error(f"--image-size: {error}")
    print(rendering_text(result))
    return result


def _parser() -> argparse.ArgumentParser:
    parser = OneLineArguments(prog="pcfrl bench", description="Measure speed and memory.")
    kinds = parser.add_subparsers(dest="what", required=True, metavar="step|npa|probe|render")
    step = kinds.add_parser("step", help="a whole training step, in parts")
    step.add_argument("--batch-size", type=_positive, default=32, help="images per step (default 32)")
    step.add_argument("--width", type=float, default=1.0, help="channels, 1.0 = the paper's (default)")
    step.add_argument("--image-size", type=_positive, default=64, help="side in pixels, 32 to 256 (default 64)")
    step.add_argument("--precision", choices=PRECISIONS, default="bf16", help="default bf16")
    step.add_argument("--steps", type=_positive, default=10, help="timed steps (default 10)")
    step.add_argument("--compile", action="store_true", help="compile the network")
    npa = kinds.add_parser("npa", help="pair alignment and both losses against InfoNCE")
    npa.add_argument(
        "--sizes",
        type=_sizes,
        default=[128, 256, 512, 1024, 2048, 4096, 8192],
        metavar="M,M,...",
        help="numbers of views (default 128,256,...,8192)",
    )
    npa.add_argument("--dim", type=_positive, default=512, help="length of the features (default 512)")
    npa.add_argument("--budget", type=float, default=10.0, help="seconds of timing per size (default 10)")
    probe = kinds.add_parser("probe", help="a linear probe with three learning rates on features of a given size")
    probe.add_argument(
        "--task", choices=("expression", "action-units"), default="expression", help="default expression"
    )
    probe.add_argument("--rows", type=_positive, default=28_709, help="training images (default 28709, FER-2013)")
    probe.add_argument("--dim", type=_positive, default=6_272, help="length of the features (default 6272)")
    probe.add_argument("--epochs", type=_positive, default=10, help="epochs of the head (default 10)")
    probe.add_argument("--memory-gb", type=float, default=6.0, help="larger tables are streamed (default 6, 0: always)")
    probe.add_argument("--folder", default=None, help="where the features are written (default: a temporary folder)")
    render = kinds.add_parser("render", help="synthetic faces drawn by one core")
    render.add_argument("--count", type=_positive, default=500, help="pictures (default 500)")
    render.add_argument("--image-size", type=_positive, default=64, help="side in pixels, 32 to 256 (default 64)")
    for kind in (step, npa, probe, render):
        kind.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
        kind.add_argument("--threads", type=_positive, default=None, help="CPU threads (default: PyTorch's choice)")
        kind.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures to FILE too")
    return parser


def _device(parser: argparse.ArgumentParser, name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        parser.error(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type not in ("cpu", "cuda"):
        parser.error(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, but PyTorch sees no CUDA device here; use --device cpu")
    return device


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _sizes(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]
