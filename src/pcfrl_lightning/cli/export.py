"""``pcfrl export CKPT --format ... --out DIR``: an encoder for use elsewhere, with a card that says what it is."""

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from pcfrl_lightning.cli.arguments import OneLineArguments, add_source_options, positive
from pcfrl_lightning.cli.embed import chosen_features
from pcfrl_lightning.evaluate.summary import source_name
from pcfrl_lightning.export import GRAPHS, export_graph, model_card, results_table
from pcfrl_lightning.networks import hub
from pcfrl_lightning.networks.encoder import load_encoder
from pcfrl_lightning.networks.stored import CONFIG, WEIGHTS, locate

CARD = "README.md"

EPILOG = """DIR holds model.safetensors and config.json, which load_encoder(DIR) reads and every other command takes as
CKPT; README.md, the card; and for each format a graph that needs no code of this project: model.onnx,
model.torchscript.pt or model.pt2. Its input is (B, 3, H, W) RGB, float32 in [0, 1] or, with --pixels uint8, bytes; any
normalisation is inside; outputs are named like the features. Each graph is loaded again and compared with PyTorch."""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl export`; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out.is_file():
        parser.error(f"--out {options.out} is a file; give a folder")
    results_table(options.results)  # a file that cannot be read is said before weights are
    if foreign := _foreign(options.out):
        reason = f"{foreign} there is of something else and is not replaced"
        parser.error(f"--out {options.out}: {reason}; give a new folder")
    encoder = load_encoder(options.encoder, trust=options.trust, weights=options.weights)
    names = chosen_features(parser, encoder, options.feature)
    encoder.save(options.out, torch.float16 if options.half else None)
    if options.half:  # graphs are of the weights that were written
        encoder = load_encoder(options.out, trust=options.trust)
    graphs = []
    for kind in dict.fromkeys(options.format):
        if kind in GRAPHS:
            made = export_graph(encoder, names, kind, options.out, options.size or encoder.embed_size, options.pixels)
            graphs.append(made)
            sizes = "any size" if made.any_size else f"{made.batches[0][1]} px only"
            print(f"wrote {made.path}: {', '.join(names)}, {sizes}, off by {made.difference:.1e} at most")
    weights = locate(options.encoder)
    card = model_card(
        options.name or source_name(options.encoder),
        encoder,
        graphs,
        weights if weights.suffix == ".ckpt" else None,
        options.data,
        options.results,
        options.license,
    )
    (options.out / CARD).write_text(card, encoding="utf-8")
    print(f"wrote {options.out}: load_encoder({str(options.out)!r}) reads it; look through its README.md")
    if options.push:
        print(f"pushed to {hub.push(options.out, options.push, private=not options.public)}")
    return 0


def _foreign(folder: Path) -> str:
    """A file that the export would replace and that no export wrote; empty where there is none."""
    names = [CARD, CONFIG, WEIGHTS, *(name for name, _ in GRAPHS.values())]
    there = next((name for name in names if (folder / name).exists()), "")
    with suppress(OSError, ValueError, AttributeError):
        if json.loads((folder / CONFIG).read_text(encoding="utf-8")).keys() >= {"class", "init_args"}:
            return ""
    return there


def _parser() -> argparse.ArgumentParser:
    parser = OneLineArguments("pcfrl export", description=__doc__, epilog=EPILOG)
    parser.add_argument("encoder", metavar="CKPT", help="as in `pcfrl embed`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    kinds = ("safetensors", *GRAPHS)
    parser.add_argument("--format", nargs="+", choices=kinds, default=["safetensors"], help="default safetensors")
    parser.add_argument("--feature", nargs="+", metavar="NAME", help="outputs of the graphs (default: all)")
    parser.add_argument("--size", type=positive, help="side of the example that the graph is made with, px")
    parser.add_argument("--pixels", choices=("float32", "uint8"), default="float32", help="input (default float32)")
    parser.add_argument("--half", action="store_true", help="weights in float16, half the size; read as float32")
    parser.add_argument("--name", metavar="TEXT", help="for the card: its title (default: by CKPT)")
    parser.add_argument("--data", default="", metavar="TEXT", help="for the card: what it was trained on")
    files = "results.json, summary.json"
    parser.add_argument("--results", type=Path, nargs="+", default=[], metavar="FILE", help=files)
    parser.add_argument("--license", default="other", metavar="ID", help="for the card, such as apache-2.0")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload to the Hugging Face hub (hf auth login)")
    parser.add_argument("--public", action="store_true", help="make a new repository of the hub public")
    add_source_options(parser)
    return parser
