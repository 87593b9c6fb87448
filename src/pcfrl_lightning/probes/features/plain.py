"""Splits and loaders of any data module, also of one that is not made for probes."""

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError, UsageError

SPLITS = ("train", "val", "test")


def data_of(trainer: L.Trainer) -> Any:
    """The data module of a probe's trainer; a UsageError where there is none, or there are several processes."""
    if trainer.world_size > 1:
        raise UsageError("a probe trains on cached features in seconds: run it with trainer.devices: 1")
    data = getattr(trainer, "datamodule", None)
    if data is None:
        raise UsageError("a probe needs a data module: trainer.fit(probe, datamodule=...)")
    return data


def splits_of(data: L.LightningDataModule, label: str) -> dict[str, FaceSet]:
    """The splits of a data module by name.

    Those of a `FaceData` are read when they are needed.  Any other module is asked for its loaders, and each is read
    once: the images are kept in memory as uint8, so this is not for sets larger than that.  A loader over a numbered
    data set is read in its order, whatever the sampler.  Its batches are ``{"image": ..., LABEL: ...}`` (further
    tensors, such as ``subject``, are labels as well) or (image, label); images (B, 1 or 3, S, S) uint8 or float in
    [0, 1].
    """
    if isinstance(data, FaceData):
        return data.splits
    found = {}
    data.setup("fit")
    for split in SPLITS:
        name = f"{split}_dataloader"
        own = getattr(type(data), name)  # of the class: `use_loaders` may have replaced that of the object
        if own is not getattr(L.LightningDataModule, name):
            if split == "test":
                data.setup("test")
            if (loader := own(data)) not in (None, []):  # how a module says that it has no such split
                found[split] = _read(loader, label, f"{type(data).__name__}/{split}")
    return found


def use_loaders(data: L.LightningDataModule, loaders: Mapping[str, Iterable[Any]]) -> None:
    """Let a data module give these loaders, by split name, instead of its own; their batches pass through unchanged."""
    if isinstance(data, FaceData):
        data.use_features(loaders)
        return
    replaced: Any = data
    for split in SPLITS:
        setattr(replaced, f"{split}_dataloader", lambda split=split: loaders.get(split, []))
    for hook in ("on_before_batch_transfer", "on_after_batch_transfer"):
        setattr(replaced, hook, lambda batch, dataloader_idx: batch)


def _read(loader: Any, label: str, name: str) -> FaceSet:
    if isinstance(loader, DataLoader) and loader.batch_sampler is not None and hasattr(loader.dataset, "__getitem__"):
        reading: dict[str, Any] = {"num_workers": loader.num_workers, "collate_fn": loader.collate_fn}
        loader = DataLoader(loader.dataset, loader.batch_size or 1, **reading)
    images, labels = [], []
    for batch in loader:
        if isinstance(batch, (tuple, list)) and len(batch) == 2:
            batch = {"image": batch[0], label: batch[1]}
        if not isinstance(batch, Mapping) or not isinstance(batch.get("image"), Tensor):
            got = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
            wanted = f"{{'image': ..., '{label}': ...}} or (image, label)"
            raise DataError(f"{name}: a probe needs batches {wanted}, got {got}")
        images.append(_uint8(batch["image"], name))
        rows = len(images[-1])
        tensors = {key: value for key, value in batch.items() if key != "image" and isinstance(value, Tensor)}
        labels.append({key: value.cpu() for key, value in tensors.items() if value.ndim and len(value) == rows})
    if not images:
        raise DataError(f"{name}: the loader gives no batch")
    if len(sizes := sorted({tuple(each.shape[2:]) for each in images})) > 1:
        raise DataError(f"{name}: images are of sizes {', '.join(map(str, sizes))}: resize them to one in the data set")
    joined = {
        key: torch.cat([each[key] for each in labels]) for key in labels[0] if all(key in each for each in labels)
    }
    return FaceSet(ArraySource(torch.cat(images).permute(0, 2, 3, 1).contiguous().numpy()), joined, name=name)


def _uint8(images: Tensor, name: str) -> Tensor:
    """(B, 1 or 3, S, S) uint8 or float in [0, 1] to (B, 3, S, S) uint8."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(f"{name}: images must be (B, 1 or 3, H, W), got {tuple(images.shape)}")
    if images.is_floating_point():
        if not bool(((images >= 0) & (images <= 1)).all()):
            raise DataError(f"{name}: float images must lie in [0, 1]: leave normalisation to the encoder")
        images = images.mul(255).round().to(torch.uint8)
    if images.dtype != torch.uint8:
        raise DataError(f"{name}: images must be uint8 or float, got {images.dtype}")
    return images.cpu().expand(-1, 3, -1, -1)
