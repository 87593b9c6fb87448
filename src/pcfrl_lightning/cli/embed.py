"""``pcfrl embed CKPT INPUT... --out FILE``: features of pictures and videos, written as they are computed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pcfrl_lightning.cli.arguments import OneLineArguments, above_0, add_source_options, positive
from pcfrl_lightning.cli.bench import device
from pcfrl_lightning.data.cropping.croppers import YuNetCrop
from pcfrl_lightning.embedding.inputs import open_input
from pcfrl_lightning.embedding.parts import FORMATS
from pcfrl_lightning.embedding.run import Job, Report, embed_to_file
from pcfrl_lightning.errors import Stopped
from pcfrl_lightning.evaluate.summary import source_name
from pcfrl_lightning.networks.encoder import Encoder, load_encoder
from pcfrl_lightning.probes.features.extract import EncoderFeatures, Precision
from pcfrl_lightning.probes.results import command, hardware, versions

EPILOG = """CKPT: the folder or a checkpoint of a run, a file of `import-pcl`, an exported folder, hf:OWNER/NAME,
timm:NAME, torchvision:NAME, or weights of this package: pretrained:synthetic. INPUT, one or several: a folder (images
and videos below it, sorted), a zip, a list of paths (.txt, .csv), an image, a video, a pattern ('photos/*.jpg'), webcam
or webcam:1 (until Ctrl-C or --limit).

FILE holds for each image or frame name, index (its place in the input), frame and time in seconds (of videos, else -1
and NaN), and each feature, float32 of length D; about.json (npz) or the metadata (parquet) say what was computed from
what. Names are relative to INPUT; with several inputs they begin with it. For arrays larger than the memory:
python -m zipfile -e FILE.npz FOLDER, then numpy.load("FOLDER/f_s.npy", mmap_mode="r").

A run that was stopped is continued by the same command, with the same result. Images that cannot be read are left out
and listed. Exit status 0 if all were read, 1 if some were not (FILE is written) or nothing was possible."""
SHOWN = 20


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl embed`; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    out = options.out or Path(f"features.{options.format or 'npz'}")
    if options.out is None and out.exists():
        parser.error(f"{out} is there already; give --out FILE")
    form = options.format or out.suffix[1:].lower()
    if form not in FORMATS:
        parser.error(f"--out {out}: give a name that ends in .npz or .parquet, or --format")
    job = make_job(parser, options, options.inputs)
    try:
        report = embed_to_file(job, out, form)
    except Stopped as stop:
        if not job.live:
            stop.text += f"; the same command goes on with what is in {out}.parts"
        raise
    _show(report, out)
    return 1 if report.unreadable else 0


def make_job(parser: argparse.ArgumentParser, options: argparse.Namespace, texts: Sequence[str]) -> Job:
    """What the options of `add_job_options` and the inputs ``texts`` say.  Ends the command where they do not fit."""
    if (options.crop == "yunet") != (options.yunet_model is not None):
        parser.error("--crop yunet and --yunet-model PATH belong together")
    encoder = load_encoder(options.encoder, trust=options.trust, weights=options.weights)
    features = chosen_features(parser, encoder, options.feature)
    inputs = {text: open_input(text, options.fps, options.root, options.limit) for text in texts}
    detector = YuNetCrop(options.yunet_model) if options.crop == "yunet" else None
    extract = EncoderFeatures(encoder, options.device, options.precision)
    size = options.image_size or encoder.embed_size
    print(f"{source_name(options.encoder)}: {', '.join(features)} at {size} px (--image-size)")
    settings: dict[str, Any] = {"encoder": source_name(options.encoder), "extractor": extract.fingerprint()}
    settings |= {"features": features, "image_size": size}
    settings |= {"crop": detector.fingerprint() if detector else "none", "fps": options.fps}
    settings |= {"inputs": [command([text]) for text in inputs], "batch_size": options.batch_size}
    about: dict[str, Any] = {"encoder_config": encoder.config, "command": command(sys.argv)}
    about |= {"hardware": hardware(), "versions": versions()}
    crop = detector.crop if detector else None
    return Job(inputs, extract, size, features, settings, about, crop, options.batch_size, options.workers)


def chosen_features(parser: argparse.ArgumentParser, encoder: Encoder, asked: Sequence[str] | None) -> list[str]:
    """Features that were asked for, each once; all of the encoder's by default.  Ends the command for unknown ones."""
    chosen = list(dict.fromkeys(asked or encoder.feature_names))
    if unknown := [name for name in chosen if name not in encoder.feature_names]:
        parser.error(f"--feature {unknown[0]}: this encoder has {', '.join(encoder.feature_names)}")
    return chosen


def _show(report: Report, out: Path) -> None:
    printable = [line.encode("utf-8", "backslashreplace").decode() for line in report.unreadable]
    for line in printable[:SHOWN]:
        print(f"left out: {line}", file=sys.stderr)
    if len(printable) > SHOWN:
        print(f"left out: {len(printable) - SHOWN} more, all are listed in {out}", file=sys.stderr)
    shapes = ", ".join(f"{name} ({report.rows}, {width})" for name, width in report.widths.items())
    resumed = f", {report.resumed} of them by an earlier run" if report.resumed else ""
    print(f"wrote {out}: {report.rows} rows{resumed}, {shapes}; {len(printable)} left out")


def _parser() -> argparse.ArgumentParser:
    parser = OneLineArguments("pcfrl embed", description=__doc__, epilog=EPILOG)
    parser.add_argument("encoder", metavar="CKPT", help="whose features")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="folder, zip, list, image, video, pattern, webcam")
    out = "file to write, .npz or .parquet (default: features.npz, if there is none)"
    parser.add_argument("--out", type=Path, metavar="FILE", help=out)
    parser.add_argument("--format", choices=tuple(FORMATS), help="default: by the name of FILE")
    parser.add_argument("--limit", type=positive, help="frames of a webcam (default: until Ctrl-C)")
    add_job_options(parser)
    return parser


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads pictures and computes features of them."""
    parser.add_argument("--feature", nargs="+", metavar="NAME", help="f_s, f_f, f_p (default: all of the encoder)")
    parser.add_argument("--crop", choices=("none", "yunet"), default="none", help="cut out the largest face first")
    parser.add_argument("--yunet-model", metavar="PATH", help="ONNX file of the detector, for --crop yunet")
    size = "side in pixels (default: 100, as in the probes; of timm: and torchvision: their own)"
    parser.add_argument("--image-size", type=positive, help=size)
    parser.add_argument("--fps", type=above_0, help="frames per second of videos (default: every frame)")
    parser.add_argument("--root", type=Path, metavar="PATH", help="where paths in a list begin (default: its folder)")
    parser.add_argument("--batch-size", type=positive, default=64, help="images per step (default 64)")
    parser.add_argument("--workers", type=positive, default=2, help="threads that read images (default 2)")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    precision = "of the network (default float32; auto: bf16 where the GPU or the CPU has it)"
    parser.add_argument("--precision", choices=get_args(Precision), default="float32", help=precision)
    add_source_options(parser)
