"""``pcfrl predict ENCODER FACES``: features of every image of a folder, zip or list, written as they are computed."""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib.format import open_memmap
from torch import Tensor
from tqdm import tqdm

from pcfrl_lightning.cli.bench import device, positive
from pcfrl_lightning.cli.messages import OneLineArguments, add_source_options
from pcfrl_lightning.data.folders.unlabelled import FaceFolder
from pcfrl_lightning.data.images.sources import SubsetSource
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.evaluate.summary import source_name
from pcfrl_lightning.networks.encoder import load_encoder
from pcfrl_lightning.probes.features.extract import EncoderFeatures
from pcfrl_lightning.probes.results import command, hardware, versions, write_results

IMAGE_SIZE = 100
"""Default side in pixels, that of the probes: the size of the pretraining gives worse features (people of ORL: 70.8 %
at 48 px, where the encoder was trained, 88.5 % at 100 px)."""
EPILOG = """ENCODER: a checkpoint of `pcfrl fit` or `import-pcl`, an exported folder, timm:NAME or torchvision:NAME.

OUT holds features_<name>.npy, float32 (n, D), for each feature; names.txt, the n images in the same order; index.npy,
their places in the sorted folder, or in the list; config.json, what was computed from what, written last. Images that
cannot be read are left out and listed there; more than 1 % of them is an error. To read a feature piece by piece:
numpy.load("features_f_s.npy", mmap_mode="r"). Exit status 0 if features were written, else 1 or 2."""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl predict`; returns the exit status."""
    parser = _parser()
    if any(argument.partition("=")[0] in ("--config", "-c", "--ckpt_path") for argument in arguments):
        parser.error("a checkpoint is enough now: pcfrl predict CHECKPOINT FACES [--out DIR]")
    options = parser.parse_args(arguments)
    encoder = load_encoder(options.encoder, trust=options.trust, weights=options.weights)
    library = str(options.encoder).startswith(("timm:", "torchvision:"))  # some of them take one size only
    size = options.image_size or (encoder.image_size if library else IMAGE_SIZE)
    chosen = list(dict.fromkeys(options.feature or encoder.feature_names))
    if unknown := [name for name in chosen if name not in encoder.feature_names]:
        parser.error(f"--feature {unknown[0]}: this encoder has {', '.join(encoder.feature_names)}")
    extract = EncoderFeatures(encoder, options.device, options.precision)
    data = FaceFolder(
        options.faces,
        options.list_file,
        image_size=size,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
    )
    readable, source = data.readable("train").source, data.build()["train"].source
    names, every = ([each.name(row) for row in range(len(each))] for each in (readable, source))
    index = np.arange(len(every)) if len(names) == len(every) else cast(SubsetSource, readable).indices
    left_out = [every[row] for row in np.setdiff1d(np.arange(len(every)), index)]
    out = Path(options.out or f"runs/predict/{source_name(options.encoder)}")
    out.mkdir(parents=True, exist_ok=True)
    print(f"{len(names)} images at {size} px; the encoder was trained at {encoder.image_size} px (--image-size)")
    shapes = write_features(out, extract, (batch["image"] for batch in data.image_loader("train")), len(names), chosen)
    lines = [name.replace("\n", "\\n") + "\n" for name in names]
    _replace(out / "names.txt", lambda path: path.write_bytes(os.fsencode("".join(lines))))
    _replace(out / "index.npy", lambda path: path.write_bytes(_npy(index)))
    printable = [name.encode("utf-8", "backslashreplace").decode() for name in left_out]
    about = {"encoder": source_name(options.encoder), "encoder_config": encoder.config, "image_size": size}
    about |= {"extractor": extract.fingerprint(), "precision": extract.precision}
    about |= {"faces": Path(options.faces).name, "faces_sha256": readable.fingerprint()}
    about |= {"images": len(names), "left_out": printable, "features": shapes}
    about |= {"hardware": hardware(), "versions": versions(), "command": command(sys.argv)}
    write_results(out / "config.json", about)
    print(*(f"left out, cannot be read: {name}" for name in printable), sep="\n", end="\n" if printable else "")
    print(f"wrote {', '.join(f'features_{name}.npy {tuple(shape)}' for name, shape in shapes.items())} in {out}")
    return 0


def write_features(
    out: Path,
    extract: Callable[[Tensor], dict[str, Tensor]],
    batches: Iterable[Tensor],
    total: int,
    chosen: Sequence[str],
) -> dict[str, list[int]]:
    """Write ``features_<name>.npy`` batch by batch; files of an earlier run are replaced when all are complete.

    Args:
        out: the folder.
        extract: uint8 (B, 3, S, S) to float32 (B, D) by name.
        batches: of images, `total` together.
        total: number of images.
        chosen: names of the features.

    Returns:
        The shape of each.

    Raises:
        UsageError: features that are not finite, or too little space on the disk.
    """
    tables: dict[str, np.memmap] = {}
    parts = {name: out / f"features_{name}.npy.part" for name in chosen}
    start = 0
    try:
        for images in tqdm(batches, total=None, unit="batch", desc=f"features of {total} images"):
            found = {name: value.cpu().numpy() for name, value in extract(images).items() if name in parts}
            if not tables:
                needed, free = sum(value[0].nbytes for value in found.values()) * total, shutil.disk_usage(out).free
                if needed > free:
                    raise UsageError(
                        f"features take {needed / 1e9:.1f} GB, {out} has {free / 1e9:.1f} GB: --feature, --out"
                    )
                tables = {
                    name: open_memmap(parts[name], "w+", np.float32, (total, value.shape[1]))
                    for name, value in found.items()
                }
            for name, value in found.items():
                if not np.isfinite(value).all():
                    raise UsageError(f"{name} is not finite for images {start} to {start + len(value) - 1}")
                tables[name][start : start + len(value)] = value
            start += len(images)
        for name, table in tables.items():
            table.flush()
            os.replace(parts[name], out / f"features_{name}.npy")
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return {name: list(table.shape) for name, table in tables.items()}


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f"{path.name}.part")
    write(part)
    os.replace(part, path)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineArguments(
        "pcfrl predict", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder", metavar="ENCODER", help="whose features")
    parser.add_argument("faces", metavar="FACES", help="folder or zip of images")
    parser.add_argument("--list-file", help="one path a line, relative to FACES")
    parser.add_argument("--out", help="folder of the results (default: runs/predict/<name of the encoder>)")
    size = f"side in pixels (default: {IMAGE_SIZE}, as in the probes; for timm: and torchvision: their own)"
    parser.add_argument("--image-size", type=positive, help=size)
    parser.add_argument("--feature", nargs="+", metavar="NAME", help="f_s, f_f, f_p (default: all of the encoder)")
    parser.add_argument("--batch-size", type=positive, default=64, help="images per step (default 64)")
    parser.add_argument("--num-workers", type=int, default=2, help="loader processes (default 2)")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    precisions = ("float32", "tf32", "bf16")
    parser.add_argument("--precision", choices=precisions, default="float32", help="of the network (default float32)")
    add_source_options(parser)
    return parser
