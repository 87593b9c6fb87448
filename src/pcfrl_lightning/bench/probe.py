"""``pcfrl bench probe``: the time and memory of a linear probe on features of a given size, extracted to disk first."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.bench.memory import peak_process_bytes
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.probes import ActionUnitProbe, ExpressionProbe, LinearProbe

CLASSES, UNITS, FOLDS = 7, 8, 3
_SIDE = 2  # pixels; the images only number the rows


@dataclass(frozen=True)
class ProbeOptions:
    """What is measured.

    Attributes:
        task: ``expression`` (7 classes, one split) or ``action-units`` (8 units, 3 folds of subjects).
        rows: images, at least 8.
        dim: length of the features.
        epochs: of the head.
        rates: learning rates trained in one pass.
        memory_gb: larger tables are streamed from disk; 0 streams always.
        folder: where the features are written and removed afterwards; default: the system's temporary folder.
    """

    task: Literal["expression", "action-units"] = "expression"
    rows: int = 28_709
    dim: int = 6_272
    epochs: int = 10
    rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    memory_gb: float = 6.0
    folder: str | None = None


class NumberedFeatures:
    """Stands in for a network: row i of the table is noise drawn from the number i that image i carries."""

    enlarges = False

    def __init__(self, dim: int) -> None:
        self.length = dim

    def dim(self, image_size: int) -> dict[str, int]:
        """Length of f_s."""
        return {"f_s": self.length}

    def fingerprint(self) -> str:
        """The features depend on the length alone."""
        return f"numbered {self.length}"

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, 2, 2) to float32 (B, D)."""
        seed = int(images[0, :, 0, 0].long() @ torch.tensor([1, 256, 65_536]))
        return {"f_s": torch.randn(len(images), self.length, generator=torch.Generator().manual_seed(seed))}


class NumberedFaces(FaceData):
    """Images that carry their number, with random labels."""

    name = "numbered"

    def __init__(self, task: str, rows: int) -> None:
        super().__init__(root=".", image_size=_SIDE, num_workers=0)
        self.task, self.rows = task, rows

    def build(self) -> dict[str, FaceSet]:
        """One split with folds for action units, three splits otherwise."""
        if self.task == "action-units":
            return {"test": self._faces("test", self.rows)}
        sizes = {"train": self.rows, "val": max(8, self.rows // 8), "test": max(8, self.rows // 8)}
        return {split: self._faces(split, size) for split, size in sizes.items()}

    def _faces(self, split: str, size: int) -> FaceSet:
        number = np.arange(size)
        digits = np.stack([number >> shift & 255 for shift in (0, 8, 16)], axis=1).astype(np.uint8)
        pixels = np.ascontiguousarray(np.broadcast_to(digits[:, None, None], (size, _SIDE, _SIDE, 3)))
        generator = torch.Generator().manual_seed(0)
        subject = torch.arange(size) * 27 // size
        labels = {
            "expression": torch.randint(CLASSES, (size,), generator=generator),
            "action_units": torch.randint(2, (size, UNITS), generator=generator).float(),
            "subject": subject,
            "fold": subject % FOLDS,
        }
        names = [str(index) for index in range(size)]
        return FaceSet(ArraySource(pixels, names), labels, name=f"numbered/{split}")


def measure_probe(options: ProbeOptions) -> dict[str, Any]:
    """Write the features, train the head, and say how long it took and how much memory it needed.

    Returns:
        ``table_bytes`` of the training features, ``streamed``, ``extraction_seconds``, ``fit_seconds``,
        ``seconds_per_epoch``, ``epochs``, and ``peak_memory_bytes``, the process's peak resident memory.
    """
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        probe = _probe(options, folder)
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
        table = probe.table(data.splits["test" if options.task == "action-units" else "train"])
        return {
            "table_bytes": table.nbytes,
            "streamed": table.nbytes > options.memory_gb * 1e9,
            "extraction_seconds": probe.extraction_seconds,
            "fit_seconds": probe.fit_seconds,
            "seconds_per_epoch": probe.fit_seconds / options.epochs,
            "total_seconds": total,
            "epochs": options.epochs,
            "peak_memory_bytes": peak_process_bytes(torch.device("cpu")),
        }


def _probe(options: ProbeOptions, folder: str) -> LinearProbe:
    kind = ActionUnitProbe if options.task == "action-units" else ExpressionProbe
    probe: LinearProbe = kind(
        baseline="random",
        image_size=_SIDE,
        lr=list(options.rates),
        cache_dir=str(Path(folder) / "features"),
        memory_gb=options.memory_gb,
    )
    probe._extractor = NumberedFeatures(options.dim)  # in place of the network that `baseline` would build
    return probe


def probe_text(result: dict[str, Any]) -> str:
    """The table of ``pcfrl bench probe``."""
    place = "streamed from disk" if result["streamed"] else "in memory"
    epoch = result["seconds_per_epoch"]
    return "\n".join(
        [
            f"features {result['table_bytes'] / 1e9:.2f} GB, {place}, written in {result['extraction_seconds']:.1f} s",
            f"head: {result['epochs']} epochs in {result['fit_seconds']:.1f} s; 300 epochs: {300 * epoch / 60:.1f} min",
            f"peak memory {result['peak_memory_bytes'] / 1e9:.2f} GB",
        ]
    )
