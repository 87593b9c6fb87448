"""The base of every data module: splits, loaders, views and unreadable images in one place."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, NoReturn, get_args

import lightning as L
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.utils.data import DataLoader

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.failure import FailureWatch
from pcfrl_lightning.data.images.decoded import CacheKind, DecodedImages, decode_once
from pcfrl_lightning.data.loaders import (
    KEYS,
    UNREADABLE,
    ImageBatches,
    KeyBatches,
    ResidentImages,
    ViewBatches,
    device_views,
    start_worker,
    whole_batch,
)
from pcfrl_lightning.data.quality.unreadable import UnreadableLog, cache_folder, without_unreadable
from pcfrl_lightning.data.sampler import EpochSampler, ResumableLoader, resume_point
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.errors import DataError, UsageError, require
from pcfrl_lightning.run_directory import run_directory

_TWO = "batch_size must be at least 2, got 1: contrastive views need negatives from another image"


class FaceData(L.LightningDataModule, ABC):
    """A data set of faces.  A subclass implements `build` and nothing else.

    With `views` (data without labels has default ones) the train loader yields view batches (float [0, 1], see
    `Views`), shuffled, whole batches only.  All other loaders yield `{"image": uint8 (N, 3, S, S), "index": (N,) long}`
    in order, the index being the row of the labels in `readable(split)`; images are resized on their shorter side and
    centre-cropped.

    Unreadable images: in training on views they are replaced as they are met, in all other sets they are found by a
    scan at set-up and left out, as they are where the training images are read as plain ones (`readable`); more than 1
    % of them is an error.

    Args:
        root: folder or archive of the data set.
        views: how to make views of a training image; None for plain images.
        image_size: side S of the images in pixels, at least 1; default 64, or as a published data set is usually
            evaluated; in the command line that of the model.
        batch_size: images per batch and process, at least 1 (2 with views).
        num_workers: loader processes, 0 or more.
        seed: seed of order and augmentation.
        cache: `none` decodes the training images in every epoch; `disk` once, into a file in the cache folder that all
            workers and later runs share; `memory` reads this file into memory, or, where the views are made on the
            device (`DeviceViews`), copies the images to the device and starts no workers.
    """

    name: str = "faces"
    side: ClassVar[int] = 64
    unlabelled: bool = False
    """Whether training on plain images makes no sense, so that `views` has a default, `AutoViews`."""
    trained_on: torch.Tensor | None = None
    """(N, 2) epoch and row of the images of the batch that is being trained on, on the CPU."""

    def __init__(
        self,
        root: str | Path,
        views: Views | None = None,
        image_size: int | None = None,
        batch_size: int = 256,
        num_workers: int = 2,
        seed: int = 0,
        cache: CacheKind = "none",
    ) -> None:
        super().__init__()
        if views is not None and batch_size == 1:
            raise ValueError(_TWO)
        image_size = self.side if image_size is None else image_size
        least = {"batch_size": 1, "image_size": 1, "num_workers": 0, "seed": 0}
        for (key, low), value in zip(least.items(), (batch_size, image_size, num_workers, seed), strict=True):
            require(value >= low, f"{key} must be at least {low}, got {value}")
        require(cache in get_args(CacheKind), f"cache must be none, disk or memory, got {cache!r}")
        if views is None and self.unlabelled:
            from pcfrl_lightning.data.views.auto import AutoViews

            views = AutoViews()
        if views is not None:
            views.use_size(image_size)
        self.root, self.views, self.seed, self.cache = Path(root), views, seed, cache
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self._splits: dict[str, FaceSet] | None = None
        self._readable: dict[str, FaceSet] = {}
        self._features: dict[str, Iterable[Any]] = {}
        self._replaced: UnreadableLog | None = None
        self._trained: FaceSet | None = None
        self._resident: ResidentImages | None = None
        self._watch = FailureWatch()
        self._interrupted: dict[str, Any] = {}

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not possible: no checkpoint holds settings of a data set, and Lightning would call what the file names."""
        raise UsageError(f"a checkpoint has no settings of {cls.__name__}: create it from its arguments or a config")

    @abstractmethod
    def build(self) -> dict[str, FaceSet]:
        """Splits by name (`train`, `val`, `test`); reads lists and labels, decodes no image."""

    @property
    def splits(self) -> dict[str, FaceSet]:
        """The sets of `build`, without unreadable images (the train set of views excepted)."""
        if self._splits is None:
            built = self.build()
            for problem in self.empty_splits(built):
                raise DataError(problem)
            self._splits = {
                split: faces if self._makes_views(split) else without_unreadable(faces, self._report_folder())
                for split, faces in built.items()
            }
        return self._splits

    def readable(self, split: str) -> FaceSet:
        """A split without unreadable images, whatever `views` is; found by a scan, once."""
        faces = self._split(split)
        if self._makes_views(split) and split not in self._readable:
            self._readable[split] = without_unreadable(faces, self._report_folder())
        return self._readable.get(split, faces)

    def empty_splits(self, built: Mapping[str, FaceSet]) -> list[str]:
        """One line for each split of `build` that has no image."""
        empty = [split for split, faces in built.items() if not len(faces)]
        return [f"{self.root}: no images for split '{split}' of {self.name}" for split in empty]

    def use_features(self, loaders: Mapping[str, Iterable[Any]]) -> None:
        """Replace the image loaders by loaders of features, by split name; batches then pass through unchanged."""
        self._features = dict(loaders)

    def prepare_data(self) -> None:
        """Verify images once, in one process; the others find the outcome in the cache."""
        try:
            self._verify()
        except (DataError, OSError):
            if self._replicas() == 1:
                raise  # else every process finds the same in `setup`, and none waits for this one

    def setup(self, stage: str) -> None:
        self._watch.start()
        self._verify()
        if stage != "fit" or self.views is None or self._features:
            return
        faces = self._split("train")
        share = len(faces) // self._replicas()
        require(self.batch_size != 1, _TWO, DataError)
        if share < self.batch_size:
            fix = f"set batch_size to at most {share}" if share > 1 else "a contrastive loss needs two at least"
            raise DataError(f"{faces.name}: {share} training images per process are fewer than one batch; {fix}")
        folder = self._report_folder() or cache_folder()
        if self.trainer:  # all share the folder of rank 0, as a logger may name another version on each
            folder = self.trainer.strategy.broadcast(folder)
        self._replaced = UnreadableLog(faces.name, len(faces), folder, self._rank(), self._replicas())
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        rank_zero_info(f"views: {self.views.use_device(device)}")
        self._trained = faces if self.cache == "none" else self._cached(faces, device)

    def _cached(self, faces: FaceSet, device: torch.device) -> FaceSet:
        """The set with its images decoded; where they can stay on the device, they are taken there."""
        assert self.views is not None
        assert self._replaced is not None
        resident = self.cache == "memory" and self.views.stored
        cached = copy(faces)
        folder = decode_once(faces.source, cache_folder(), faces.name)
        cached.source = images = DecodedImages(faces.source, folder, self.cache == "memory" and not resident)
        if resident:
            self._replaced.add((images.name(row), reason) for row, reason in images.reasons.items())
            self._resident = ResidentImages(images, self.views, device)
        return cached

    def _verify(self) -> None:
        if not self._features:
            _ = self.splits
            if self.trainer and self.trainer.predicting:
                self.readable(self._predicted())

    def train_dataloader(self) -> Any:
        if self._features or self.views is None:
            return self._loader("train")
        faces = self._split("train")
        batches = len(faces) // self._replicas() // self.batch_size
        epoch, done = resume_point(self.trainer, batches) if self.trainer else (0, 0)
        if done:
            self._check_same_order()
        sampler = EpochSampler(faces, self._replicas(), self._rank(), self.seed, epoch, done * self.batch_size)
        kind = KeyBatches if self._resident else ViewBatches
        return self._data_loader(kind(self._trained or faces, self.views, self.seed), sampler=sampler, drop_last=True)

    def val_dataloader(self) -> Any:
        """Validation images in order; no loader where there is no such split, or in pretraining (views)."""
        return self._loader("val") if self.views is None else []

    def test_dataloader(self) -> Any:
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        return self.image_loader(self._predicted())

    def image_loader(self, split: str) -> DataLoader[Any]:
        """A split as plain images in order, whatever `views` is; `index` counts the rows of `readable(split)`."""
        return self._data_loader(ImageBatches(self.readable(split), self.image_size))

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not isinstance(batch, dict):
            return batch
        self.trained_on = batch.get(KEYS, self.trained_on)
        if self._replaced is not None:
            self._replaced.add(batch.get(UNREADABLE, ()))
        return {key: value for key, value in batch.items() if key != UNREADABLE}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self._features or not isinstance(batch, dict) or "index" in batch or self.views is None:
            return batch
        stored = self._resident.rows(batch[KEYS][:, 1]) if self._resident else {}
        return device_views(self.views, batch | stored)

    def on_exception(self, exception: BaseException) -> None:
        if not isinstance(exception, SystemExit):  # a process that was asked to end has asked the others itself
            self._watch.report(exception)

    def teardown(self, stage: str) -> None:
        self._watch.stop()
        if stage == "fit" and self._replaced is not None:
            self._replaced.summarise("replaced by others in training")
        self._resident = None

    def state_dict(self) -> dict[str, Any]:
        """What the order of training images and its cut into steps depend on, for the checkpoint."""
        images = len(self._split("train")) if self.views is not None else 0
        step = self.batch_size * self._replicas()
        return {"images per step of all processes": step, "images": images, "seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._interrupted = state_dict

    def _check_same_order(self) -> None:
        """Refuse to go on inside an epoch in another order: some of its images would be seen twice, others never."""
        here = self.state_dict()
        differing = [
            f"{key} {there!s:.20} there and {here[key]} here"
            for key, there in self._interrupted.items()
            if key in here and there != here[key]
        ]
        if differing:
            raise UsageError(
                f"the checkpoint was written inside an epoch with other data settings: {'; '.join(differing)}. Give "
                "those of its run (data.batch_size, processes, data.seed, images), or go on from the end of an epoch"
            )

    def _split(self, split: str) -> FaceSet:
        if split not in self.splits:
            raise DataError(f"{self.name} has no split '{split}', only {', '.join(sorted(self.splits))}")
        return self.splits[split]

    def _loader(self, split: str) -> Any:
        if self._features:
            return self._features.get(split, [])
        return self.image_loader(split) if split in self.splits else []

    def _data_loader(self, batches: Any, **options: Any) -> DataLoader[Any]:
        workers = 0 if isinstance(batches, KeyBatches) else self.num_workers
        return ResumableLoader(
            batches,
            batch_size=self.batch_size,
            num_workers=workers,
            collate_fn=whole_batch,
            worker_init_fn=start_worker,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # a loader draws its workers' seed when they start: from a generator of its own, for an exact resume
            generator=torch.Generator().manual_seed(self.seed),
            **options,
        )

    def _predicted(self) -> str:
        return "test" if "test" in self.splits else "train"

    def _makes_views(self, split: str) -> bool:
        return split == "train" and self.views is not None

    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _replicas(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _report_folder(self) -> Path | None:
        return run_directory(self.trainer) if self.trainer else None
