"""Features on disk: extracted once, checked, resumable, readable without holding them in memory."""

import hashlib
import json
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.loaders import start_worker
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks.checkpoint import file_sha256
from pcfrl_lightning.probes.features.extract import FeatureExtractor
from pcfrl_lightning.probes.features.images import EvaluationImages

CODE_VERSION = 1
"""Raise it when the same extractor and images would give other features than before."""

CacheType = Literal["float32", "float16"]
STALE_SECONDS = 3600.0


class FeatureTable:
    """Features of one split on disk, as shards of consecutive rows.

    Files are mapped only while they are read, so that a table larger than memory can be streamed.

    Args:
        columns: for each feature the paths of its shards (.npy); several features are put side by side.
        lengths: rows of each shard.
    """

    def __init__(self, columns: Sequence[Sequence[Path]], lengths: Sequence[int]) -> None:
        self.columns = [list(paths) for paths in columns]
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        first = [np.load(paths[0], mmap_mode="r") for paths in self.columns]
        self.dims = [array.shape[1] for array in first]
        self.dtype = torch.from_numpy(np.empty(0, first[0].dtype)).dtype

    @classmethod
    def side_by_side(cls, tables: "Sequence[FeatureTable]") -> "FeatureTable":
        """Several features of the same images as one table."""
        lengths = np.diff(tables[0].starts).tolist()
        return cls([paths for table in tables for paths in table.columns], lengths)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def dim(self) -> int:
        """Length of one row."""
        return sum(self.dims)

    @property
    def nbytes(self) -> int:
        """Size of all rows in the type they are stored in."""
        return len(self) * self.dim * self.dtype.itemsize

    def gather(self, rows: Tensor) -> Tensor:
        """Rows in the given order, (B, dim), in the stored type; reads each shard front to back."""
        wanted = rows.numpy()
        order = np.argsort(wanted, kind="stable")
        bounds = np.searchsorted(wanted[order], self.starts)
        result = torch.empty(len(wanted), self.dim, dtype=self.dtype)
        for shard, start in enumerate(self.starts[:-1]):
            places = order[bounds[shard] : bounds[shard + 1]]
            if len(places):
                self._read(shard, wanted[places] - start, places, result.numpy())
        return result

    def load(self) -> Tensor:
        """All rows, (n, dim), in the stored type."""
        result = torch.empty(len(self), self.dim, dtype=self.dtype)
        for shard, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            self._read(shard, slice(None), slice(int(start), int(end)), result.numpy())
        return result

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(row numbers, float32 rows) shard by shard."""
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            rows = torch.arange(int(start), int(end))
            yield rows, self.gather(rows).float()

    def _read(self, shard: int, local: Any, places: Any, result: np.ndarray) -> None:
        column = 0
        for paths, dim in zip(self.columns, self.dims, strict=True):
            result[places, column : column + dim] = np.load(paths[shard], mmap_mode="r")[local]
            column += dim


class ShardStore:
    """The shards of one feature of one split, in one folder, with a manifest of checksums.

    A shard counts only when the manifest lists it and its SHA-256 fits.  Files get their final name by a rename after
    everything is on disk, so a process killed at any moment leaves nothing that a later one believes.

    Args:
        folder: of the shards; created.
        key: what the features depend on; written into the manifest for the reader.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder, self.key = folder, key
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.part"):
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink(missing_ok=True)

    def path(self, shard: int) -> Path:
        """File of a shard."""
        return self.folder / f"{shard:05d}.npy"

    def intact(self, shard: int) -> bool:
        """Whether a shard is complete; warns about one whose content has changed."""
        path = self.path(shard)
        checksum = self._checksums().get(path.name)
        if checksum is None or not path.is_file():
            return False
        if file_sha256(path) == checksum:
            return True
        warnings.warn(f"cached features {path} are damaged (checksum differs); extracting them again", stacklevel=2)
        return False

    def write(self, shard: int, rows: np.ndarray) -> None:
        """Store the rows of a shard, then enter it in the manifest."""
        path = self.path(shard)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, rows)
            file.flush()
            os.fsync(file.fileno())
        checksums = self._checksums() | {path.name: file_sha256(part)}
        os.replace(part, path)
        self._write_manifest(checksums)

    def _checksums(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.folder / "manifest.json").read_text())["shards"])
        except (FileNotFoundError, json.JSONDecodeError, KeyError):
            return {}

    def _write_manifest(self, checksums: dict[str, str]) -> None:
        part = self.folder / f"manifest.json.{os.getpid()}.part"
        with part.open("w") as file:
            json.dump({"key": self.key, "shards": checksums}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.folder / "manifest.json")


def cached_features(
    extractor: FeatureExtractor,
    faces: FaceSet,
    names: Sequence[str],
    *,
    image_size: int,
    cache_dir: str | Path = "runs/features",
    dtype: CacheType = "float32",
    batch_size: int = 128,
    shard_rows: int = 2048,
    num_workers: int = 0,
    progress: bool = True,
) -> dict[str, FeatureTable]:
    """Features of all images of a split, from the cache where they are there.

    One pass over the images gives all the features asked for.  A run that was killed continues behind the last complete
    shard.

    Args:
        extractor: gives the features.
        faces: the n images; their labels are not looked at.
        names: features wanted, such as ``["f_s", "f_p"]``.
        image_size: evaluation size in pixels.
        cache_dir: one folder per feature, split and key is made in here.
        dtype: stored type.  ``float16`` halves the disk space; it is exact for features computed under bf16 (8 bits of
            mantissa) and rounds others by at most 5e-4 of their value.
        batch_size: images per forward pass.
        shard_rows: rows per file.
        num_workers: processes that read images.
        progress: show a bar.

    Returns:
        One table per feature name.

    Raises:
        DataError: the split is empty, a feature is not finite or too large for float16, or the disk is too small.
    """
    if len(faces) == 0:
        raise DataError(f"{faces.name}: there are no images to extract features from")
    images = EvaluationImages(faces, image_size, extractor.enlarges)
    common = {"extractor": extractor.fingerprint(), "data": _image_fingerprint(faces), "image_size": images.size}
    common |= {"dtype": dtype, "shard_rows": shard_rows, "code": CODE_VERSION}
    stores = {name: ShardStore(*_place(Path(cache_dir), faces.name, {**common, "feature": name})) for name in names}
    lengths = [min(shard_rows, len(faces) - start) for start in range(0, len(faces), shard_rows)]
    missing = [shard for shard in range(len(lengths)) if not all(store.intact(shard) for store in stores.values())]
    if missing:
        _check_space(Path(cache_dir), sum(lengths[i] for i in missing), extractor.dim(images.size), names, dtype)
        batches = _shard_batches(missing, lengths, shard_rows, batch_size)
        loader = DataLoader(
            images,
            batch_sampler=[rows for _, rows in batches],
            num_workers=num_workers,
            worker_init_fn=start_worker,
        )
        _extract(extractor, loader, batches, stores, dtype, progress, f"{faces.name} {'+'.join(names)}")
    return {
        name: FeatureTable([[store.path(i) for i in range(len(lengths))]], lengths) for name, store in stores.items()
    }


def _extract(
    extractor: FeatureExtractor,
    loader: DataLoader[Tensor],
    batches: list[tuple[int, list[int]]],
    stores: dict[str, ShardStore],
    dtype: CacheType,
    progress: bool,
    title: str,
) -> None:
    pending: dict[str, list[np.ndarray]] = {name: [] for name in stores}
    total = sum(len(rows) for _, rows in batches)
    with tqdm(total=total, desc=f"features of {title}", unit="img", disable=not progress) as bar:
        for position, ((shard, rows), images) in enumerate(zip(batches, loader, strict=True)):
            features = extractor(images)
            for name, parts in pending.items():
                parts.append(_checked(features[name].cpu().numpy().astype(dtype), name, title, rows[0]))
            bar.update(len(rows))
            if position + 1 == len(batches) or batches[position + 1][0] != shard:
                for name, store in stores.items():
                    store.write(shard, np.concatenate(pending[name]))
                    pending[name] = []


def _checked(values: np.ndarray, name: str, title: str, row: int) -> np.ndarray:
    if not np.isfinite(values).all():
        raise DataError(
            f"{title}: feature {name} is not finite within {len(values)} images from row {row} on; "
            "check the checkpoint, and use cache_dtype: float32 if it was float16"
        )
    return values


def _shard_batches(
    shards: list[int], lengths: list[int], shard_rows: int, batch_size: int
) -> list[tuple[int, list[int]]]:
    """(shard, row numbers) per batch; a batch never crosses the border of a shard."""
    return [
        (shard, list(range(shard * shard_rows + i, shard * shard_rows + min(i + batch_size, lengths[shard]))))
        for shard in shards
        for i in range(0, lengths[shard], batch_size)
    ]


def _image_fingerprint(faces: FaceSet) -> str:
    """Unlike `FaceSet.fingerprint` without the labels: features do not depend on them."""
    return f"{faces.source.fingerprint()} {'' if faces.crop is None else faces.crop.fingerprint()}"


def _place(cache_dir: Path, split: str, key: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", split).strip("-")
    return cache_dir / f"{readable}-{key['feature']}-{digest[:20]}", key


def _check_space(cache_dir: Path, rows: int, dims: dict[str, int], names: Sequence[str], dtype: CacheType) -> None:
    needed = rows * sum(dims[name] for name in names) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(cache_dir).free
    if needed > free:
        raise DataError(
            f"cache_dir {cache_dir} needs {math.ceil(needed / 1e9)} GB for features but has {free / 1e9:.1f} GB free; "
            "give another cache_dir or use cache_dtype: float16"
        )
