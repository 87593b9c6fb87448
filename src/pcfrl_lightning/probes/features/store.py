"""Features on disk: extracted once, resumable, readable without holding them in memory."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.features.extract import FeatureExtractor
from pcfrl_lightning.probes.features.filling import CacheType, EvaluationImages, FeatureFile, fill

CODE_VERSION = 2
"""Raise it when the same extractor and images would give other features than before."""

CHUNK_ROWS = 2048


class FeatureTable:
    """Features of one split on disk, n rows; several features are put side by side.

    Files, each (n, D), are mapped only while they are read, so that a table larger than memory can be streamed.
    ``image_size`` is the side of the images that were looked at, in pixels.
    """

    def __init__(self, paths: Sequence[Path], image_size: int) -> None:
        self.paths, self.image_size = paths, image_size
        arrays = [np.load(path, mmap_mode="r") for path in paths]
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
    cache_dir = Path(cache_dir)
    files = {name: _file(cache_dir, faces.name, {**key, "feature": name}) for name in names}
    missing = {name: file for name, file in files.items() if file.rows < len(faces)}
    if missing:
        reading = {"batch_size": batch_size, "chunk_rows": chunk_rows, "num_workers": num_workers}
        fill(missing, extractor, images, dtype, progress=progress, title=f"{faces.name} {'+'.join(missing)}", **reading)
    return FeatureTable([file.path for file in files.values()], images.size)


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


def _file(cache_dir: Path, split: str, key: dict[str, Any]) -> FeatureFile:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", split).strip("-")
    return FeatureFile(cache_dir / f"{readable}-{key['feature']}-{digest[:20]}.npy", key)
