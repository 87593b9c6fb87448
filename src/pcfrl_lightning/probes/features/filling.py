"""One pass over the images of a split: reading, the network and the disk at the same time."""

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import CorruptImage
from pcfrl_lightning.data.loaders import fit_square, start_worker
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.files import replacing
from pcfrl_lightning.host_copy import HostCopy
from pcfrl_lightning.probes.features.extract import FeatureExtractor

CacheType = Literal["float32", "float16"]


class EvaluationImages(Dataset[Tensor]):
    """The images of a split, each (3, S, S) uint8, resized without any randomness.

    With ``enlarge`` S is ``image_size``, else that of the first image, at most ``image_size``.
    """

    def __init__(self, faces: FaceSet, image_size: int, enlarge: bool) -> None:
        self.faces = faces
        self.size = image_size if enlarge else min(image_size, *self._read(0).shape[:2])

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Tensor:
        square = fit_square(self._read(index), self.size)
        return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))

    def _read(self, index: int) -> np.ndarray:
        try:
            return self.faces.image(index)
        except CorruptImage as error:
            raise DataError(f"{self.faces.name}: image {index} cannot be read: {error}") from error


class FeatureFile:
    """One feature of one split: an .npy file, filled from the top, and beside it a .json with the rows that count.

    The .json is replaced in one move after the rows are on disk, so rows of a process that was killed are never used by
    a later one; ``key`` tells its reader what the features depend on.
    """

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path, self.note, self.key = path, path.with_suffix(".json"), key
        try:
            note = json.loads(self.note.read_text())
            self.rows = int(note["rows"]) if path.stat().st_size == note["bytes"] else 0
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            self.rows = 0

    def write(self, start: int, values: np.ndarray, total: int) -> None:
        """Store rows from ``start`` on of ``total``, then count them."""
        # a whole file is not truncated: another process may be writing the same features
        whole = self.path.is_file() and self.path.stat().st_size > total * values[0].nbytes
        mode: Literal["r+", "w+"] = "r+" if whole else "w+"
        array = np.lib.format.open_memmap(self.path, mode, values.dtype, (total, values.shape[1]))
        array[start : start + len(values)] = values
        array.flush()
        self.rows = start + len(values)
        note = {"key": self.key, "rows": self.rows, "bytes": self.path.stat().st_size}
        with replacing(self.note, shared=True) as part:
            part.write_text(json.dumps(note, indent=1))


def fill(
    files: Mapping[str, FeatureFile],
    extractor: FeatureExtractor,
    images: EvaluationImages,
    dtype: CacheType,
    *,
    title: str,
    batch_size: int,
    chunk_rows: int,
    num_workers: int,
    progress: bool,
) -> None:
    """Extract the rows that some files, by feature, do not have yet.

    Workers decode while the network computes, and a chunk is copied from the device and written, in a thread, while the
    next one is computed. Features stay on the device up to the end of their chunk.

    Raises:
        DataError: as of `cached_features`.
    """
    start, total, kind = min(file.rows for file in files.values()), len(images), getattr(torch, dtype)
    batches = [rows.tolist() for rows in torch.arange(start, total).split(batch_size)]
    pinned = extractor.device.type == "cuda"
    options: dict[str, Any] = {"num_workers": num_workers, "worker_init_fn": start_worker, "pin_memory": pinned}
    chunk: list[dict[str, Tensor]] = []
    written: Future[None] | None = None
    bar = tqdm(total=total, initial=start, desc=f"features of {title}", disable=None if progress else True)
    with bar, ThreadPoolExecutor(1) as writer:
        for number, batch in enumerate(DataLoader(images, batch_sampler=batches, **options), 1):
            features = extractor(batch)
            chunk.append({name: features[name].to(kind) for name in files})
            bar.update(len(batch))
            if number == 1:
                _check_space(next(iter(files.values())).path.parent, total - start, chunk[0].values())
            if number == len(batches) or number * batch_size % chunk_rows < batch_size:
                joined = {name: HostCopy(torch.cat([each[name] for each in chunk])) for name in files}
                if written is not None:
                    written.result()
                written = writer.submit(_write, files, joined, start, total, title)
                start += sum(len(next(iter(each.values()))) for each in chunk)
                chunk = []
        if written is not None:
            written.result()


def _write(files: Mapping[str, FeatureFile], chunk: Mapping[str, HostCopy], start: int, total: int, title: str) -> None:
    for name, copy in chunk.items():
        values = copy.read()
        finite = values.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            raise DataError(
                f"{title}: feature {name} is not finite for image {start + int(finite.int().argmin())}; "
                "check the checkpoint, and use cache_dtype: float32 if it was float16"
            )
        files[name].write(start, values.numpy(), total)


def _check_space(cache_dir: Path, rows: int, samples: Iterable[Tensor]) -> None:
    needed = rows * sum(sample[0].nbytes for sample in samples)
    cache_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_dir).free
    if needed > free:
        raise DataError(
            f"cache_dir {cache_dir} needs {math.ceil(needed / 1e9)} GB for features but has {free / 1e9:.1f} GB free; "
            "give another cache_dir or use cache_dtype: float16"
        )
