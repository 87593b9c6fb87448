"""Time and memory of a linear probe with three learning rates, on features of a given size that are written first.

python benchmarks/probe.py --epochs 300 --threads 2 --json benchmarks/probe_fer2013_2threads.json
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.bench.report import environment, write_json
from pcfrl_lightning.cli.bench import positive
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.probes import ActionUnitProbe, ExpressionProbe, Probe

RATES = (1e-4, 1e-3, 1e-2)
CLASSES, UNITS, FOLDS = 7, 8, 3
SIDE = 2  # pixels; the images only number the rows


def main(arguments: Sequence[str]) -> dict[str, Any]:
    """Write the features, train the head, and say how long it took and how much memory it needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--task", choices=("expression", "action-units"), default="expression", help="7 classes, or 8 units in 3 folds"
    )
    parser.add_argument("--rows", type=positive, default=28_709, help="training images (default 28709, FER-2013)")
    parser.add_argument("--dim", type=positive, default=6_272, help="length of the features (default 6272)")
    parser.add_argument("--epochs", type=positive, default=10, help="epochs of the head (default 10)")
    parser.add_argument(
        "--memory-gb", type=float, default=6.0, help="larger tables are streamed (default 6, 0: always)"
    )
    parser.add_argument("--folder", help="where the features are written and removed (default: a temporary folder)")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args(arguments)
    if options.rows < 100:
        parser.error(f"--rows must be at least 100, got {options.rows}")
    if options.threads:
        torch.set_num_threads(options.threads)
    facts = environment(torch.device("cpu"))
    result = measure(options)
    print(text(result))
    if options.json is not None:
        asked = {key: value for key, value in vars(options).items() if key != "json"}
        write_json(options.json, {"benchmark": "probe", "options": asked, "environment": facts, "result": result})
    return result


class NumberedFeatures:
    """Stands in for a network: row i of the table is noise drawn from the number i that image i carries."""

    enlarges = False
    names = ("f_s",)
    precision = "float32"
    device = torch.device("cpu")

    def __init__(self, dim: int) -> None:
        self.length = dim

    def fingerprint(self) -> str:
        return f"numbered {self.length}"

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, 2, 2) to float32 (B, D)."""
        seed = int(images[0, :, 0, 0].long() @ torch.tensor([1, 256, 65_536]))
        return {"f_s": torch.randn(len(images), self.length, generator=torch.Generator().manual_seed(seed))}


class NumberedFaces(FaceData):
    """Images that carry their number, with random labels."""

    name = "numbered"

    def __init__(self, task: str, rows: int) -> None:
        super().__init__(root=".", image_size=SIDE, num_workers=0)
        self.task, self.rows = task, rows

    def build(self) -> dict[str, FaceSet]:
        """One split with folds for action units, three splits otherwise."""
        if self.task == "action-units":
            return {"test": self.faces("test", self.rows)}
        sizes = {"train": self.rows, "val": max(8, self.rows // 8), "test": max(8, self.rows // 8)}
        return {split: self.faces(split, size) for split, size in sizes.items()}

    def faces(self, split: str, size: int) -> FaceSet:
        number = np.arange(size)
        digits = np.stack([number >> shift & 255 for shift in (0, 8, 16)], axis=1).astype(np.uint8)
        pixels = np.ascontiguousarray(np.broadcast_to(digits[:, None, None], (size, SIDE, SIDE, 3)))
        generator = torch.Generator().manual_seed(0)
        subject = torch.arange(size) * 27 // size
        labels = {
            "expression": torch.randint(CLASSES, (size,), generator=generator),
            "action_units": torch.randint(2, (size, UNITS), generator=generator).float(),
            "subject": subject,
            "fold": subject % FOLDS,
        }
        return FaceSet(ArraySource(pixels, [str(index) for index in range(size)]), labels, name=f"numbered/{split}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Sizes in bytes, times in seconds; ``peak_memory_bytes`` is the process's peak resident memory."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        kind = ActionUnitProbe if options.task == "action-units" else ExpressionProbe
        probe: Probe = kind(
            baseline="random",
            image_size=SIDE,
            lr=list(RATES),
            cache_dir=str(Path(folder) / "features"),
            memory_gb=options.memory_gb,
        )
        probe.source.extractor = NumberedFeatures(options.dim)  # in place of the network that `baseline` would build
        data = NumberedFaces(options.task, options.rows)
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=options.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=folder,
            num_sanity_val_steps=0,
        )
        started = time.perf_counter()
        trainer.fit(probe, datamodule=data)
        total = time.perf_counter() - started
        table = probe.source.table(data.splits["test" if options.task == "action-units" else "train"])
        return {
            "table_bytes": table.nbytes,
            "streamed": table.nbytes > options.memory_gb * 1e9,
            "extraction_seconds": probe.source.seconds,
            "fit_seconds": probe.fit_seconds,
            "seconds_per_epoch": probe.fit_seconds / options.epochs,
            "total_seconds": total,
            "epochs": options.epochs,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            * (1 if sys.platform == "darwin" else 1024),
        }


def text(result: dict[str, Any]) -> str:
    place = "streamed from disk" if result["streamed"] else "in memory"
    epoch = result["seconds_per_epoch"]
    return "\n".join(
        [
            f"features {result['table_bytes'] / 1e9:.2f} GB, {place}, written in {result['extraction_seconds']:.1f} s",
            f"head: {result['epochs']} epochs in {result['fit_seconds']:.1f} s; 300 epochs: {300 * epoch / 60:.1f} min",
            f"peak memory {result['peak_memory_bytes'] / 1e9:.2f} GB",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
