"""Features on disk: extracted once, resumable, readable without holding them in memory."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
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
from pcfrl_lightning.errors import DataError, one_line
from pcfrl_lightning.files import replacing
from pcfrl_lightning.host_copy import HostCopy
from pcfrl_lightning.probes.features.extract import FeatureExtractor

CacheType = Literal["float32", "float16"]
CODE_VERSION = 2
"""Raise it when the same extractor and images would give other features than before."""

CHUNK_ROWS = 2048


class EvaluationImages(Dataset[Tensor]):
    """The images of a split, each (3, S, S) uint8, resized without any randomness.

    With ``enlarge`` S is ``image_size``, else that of the first image, at most ``image_size``.
    """

    def __init__(self, faces: FaceSet, image_size: int, enlarge: bool = True) -> None:
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


class FeatureTable:
    """Features of one split on disk, n rows; several features are put side by side.

    Files, each (n, D), are mapped only while they are read, so that a table larger than memory can be streamed.
    ``image_size`` is the side of the images that were looked at, in pixels.  DataError for a file that is no array.
    """

    def __init__(self, paths: Sequence[Path], image_size: int) -> None:
        self.paths, self.image_size = paths, image_size
        arrays = [_mapped(path) for path in paths]
        self.dims = [array.shape[1] for array in arrays]
        self.dim = sum(self.dims)
        self.rows = len(arrays[0])
        self.nbytes = sum(array.nbytes for array in arrays)
        self.dtype = torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype

    def __len__(self) -> int:
        return self.rows

    def gather(self, rows: Tensor) -> Tensor:
        """Rows in the given order, (B, dim), in the stored type; reads each file front to back."""
        order = rows.argsort()
        return self._read(rows[order].numpy(), order.numpy(), len(rows))

    def load(self) -> Tensor:
        """All rows, (n, dim), in the stored type."""
        return self._read(slice(None), slice(None), len(self))

    def _read(self, rows: Any, places: Any, count: int) -> Tensor:
        result = torch.empty(count, self.dim, dtype=self.dtype)
        column = 0
        for path, dim in zip(self.paths, self.dims, strict=True):
            result.numpy()[places, column : column + dim] = np.load(path, mmap_mode="r")[rows]
            column += dim
        return result


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, "r")
    except ValueError as error:
        raise DataError(f"{path}: damaged ({one_line(error, 100)}); remove it, its features are made again") from None


def cached_features(
    extractor: FeatureExtractor,
    faces: FaceSet,
    names: Sequence[str],
    *,
    image_size: int,
    cache_dir: str | Path = "runs/features",
    dtype: CacheType = "float32",
    batch_size: int = 128,
    chunk_rows: int = CHUNK_ROWS,
    num_workers: int = 0,
    progress: bool = True,
) -> FeatureTable:
    """Features of all images of a split, from the cache where they are there.

    One pass over the images gives all the features asked for, side by side in the order of ``names``.  A run that was
    killed continues behind the last complete chunk of ``chunk_rows``.  ``float16`` is exact for features computed under
    bf16 (8 bits of mantissa) and rounds others by at most 5e-4 of their value.

    Raises:
        DataError: the split is empty, a feature is not finite or too large for float16, or the disk is too small.
    """
    if len(faces) == 0:
        raise DataError(f"{faces.name}: there are no images to extract features from")
    images = EvaluationImages(faces, image_size, extractor.enlarges)
    # labels are no part of the key: features do not depend on them
    key = {"extractor": extractor.fingerprint(), "data": faces.source.fingerprint(), "image_size": images.size}
    key |= {"dtype": dtype, "code": CODE_VERSION}
    files: dict[str, FeatureFile] = {}
    for name in names:
        digest = hashlib.sha256(json.dumps({**key, "feature": name}, sort_keys=True).encode()).hexdigest()
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", faces.name).strip("-")
        path = Path(cache_dir) / f"{readable}-{name}-{digest[:20]}.npy"
        files[name] = FeatureFile(path, {**key, "feature": name})
    missing = {name: file for name, file in files.items() if file.rows < len(faces)}
    if missing:
        title = f"{faces.name} {'+'.join(missing)}"
        _fill(missing, extractor, images, dtype, title, batch_size, chunk_rows, num_workers, progress)
    return FeatureTable([file.path for file in files.values()], images.size)


def _fill(
    files: Mapping[str, FeatureFile],
    extractor: FeatureExtractor,
    images: EvaluationImages,
    dtype: CacheType,
    title: str,
    batch_size: int,
    chunk_rows: int,
    num_workers: int,
    progress: bool,
) -> None:
    """Extract the rows that some files, by feature, do not have yet.

    Workers decode while the network computes, and a chunk is copied from the device and written, in a thread, while the
    next one is computed. Features stay on the device up to the end of their chunk.
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


def feature_moments(table: FeatureTable, used: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance, each (K, D) float32, of the rows of K sets, ``used`` (K, n) bool.

    The table is read once; sums are taken in float64.
    """
    weights = used.double()
    total = torch.zeros(len(used), table.dim, dtype=torch.float64)
    squares = torch.zeros_like(total)
    centre = table.gather(torch.tensor([0])).double()  # keeps the squares small, so that no digits are lost
    for rows in torch.arange(len(table)).split(CHUNK_ROWS):
        values = table.gather(rows).double() - centre
        total += weights[:, rows] @ values
        squares += weights[:, rows] @ values.square_()
    count = weights.sum(1, keepdim=True)
    mean = total / count
    return (mean + centre).float(), (squares / count - mean.square()).clamp_min_(0.0).float()
