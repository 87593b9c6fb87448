"""The features that a probe asks for: made or read once per split, and handed out as loaders."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.distributed import cores
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.networks.encoder import load_encoder, untrained_encoder
from pcfrl_lightning.probes.features.extract import EncoderFeatures, FeatureExtractor, Precision
from pcfrl_lightning.probes.features.handmade import HAND_MADE
from pcfrl_lightning.probes.features.loaders import FeatureBatches
from pcfrl_lightning.probes.features.store import CacheType, FeatureTable, cached_features
from pcfrl_lightning.probes.plan import Part, require

Baseline = Literal["random", "lbp", "hog", "pixels"]
CONCAT = "concat"
"""All features of an encoder side by side."""
EVALUATION_BATCH = 2048


@dataclass
class FeatureSource:
    """Tables and loaders of the features of one extractor; arguments as of `Probe`, refused by the key of the model."""

    checkpoint: str | None = None
    baseline: Baseline | None = None
    features: Sequence[str] = ("f_s",)
    image_size: int = 100
    weights: str | None = None
    trust: Sequence[str] = ()
    precision: Precision = "auto"
    cache_dir: str = "runs/features"
    cache_dtype: CacheType = "float32"
    memory_gb: float = 6.0
    seed: int = 0
    extractor: FeatureExtractor | None = None  # made when the first table is asked for
    columns: dict[str, slice] = field(default_factory=dict)  # of a batch by feature; known with the first table
    pixels: int = 0  # size of the images that were looked at
    seconds: float = 0.0  # spent on extraction and reading
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _tables: dict[int, tuple[FaceSet, FeatureTable]] = field(default_factory=dict)
    _loaded: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.checkpoint is None and self.baseline is None:
            raise ValueError("give model.checkpoint (a .ckpt file) or model.baseline (random, lbp, hog or pixels)")
        require("baseline", self.baseline, self.baseline in (None, *get_args(Baseline)), "random, lbp, hog or pixels")
        if not 0 < len(self.features) == len(set(self.features)):
            raise ValueError(f"model.feature must name one or several different features, got {list(self.features)}")
        if self.hand_made and self.checkpoint is not None:
            given = f"not both: {self.baseline} needs no checkpoint"
            raise ValueError(f"give either model.checkpoint or model.baseline, {given}")
        if self.hand_made and tuple(self.features) not in (("f_s",), (self.baseline,)):
            only = f"model.baseline {self.baseline} has only one"
            raise ValueError(f"model.feature {', '.join(self.features)} is a feature of a network; {only}")
        require("image_size", self.image_size, self.image_size >= 1, "at least 1")
        precisions = get_args(Precision)
        require("precision", self.precision, self.precision in precisions, ", ".join(precisions))
        require("cache_dtype", self.cache_dtype, self.cache_dtype in get_args(CacheType), "float32 or float16")

    @property
    def hand_made(self) -> bool:
        """Whether no network is involved."""
        return self.baseline in HAND_MADE

    def make_extractor(self, device: torch.device) -> FeatureExtractor:
        """What computes the features; errors as of `load_encoder`."""
        if self.hand_made:
            return HAND_MADE[str(self.baseline)]()
        if self.baseline == "random":
            encoder = untrained_encoder(self.checkpoint, self.seed, trust=self.trust)
        else:
            encoder = load_encoder(str(self.checkpoint), trust=self.trust, weights=self.weights)
        return EncoderFeatures(encoder, device, self.precision)

    def read(self, faces: FaceSet, device: torch.device, num_workers: int = 0, progress: bool = False) -> None:
        """Extract the features of a split, unless they are in the cache."""
        if id(faces) in self._tables:
            return
        started = time.perf_counter()
        self.device = device
        self.extractor = self.extractor or self.make_extractor(device)
        wanted = self._wanted(self.extractor.names)
        names = list(self.extractor.names) if CONCAT in wanted else wanted
        cache: dict[str, Any] = {"cache_dir": self.cache_dir, "dtype": self.cache_dtype}
        cache["num_workers"] = num_workers
        if device.type == "cuda":  # to keep it busy: larger batches, and all cores decode, unless this process does (0)
            cache |= {"batch_size": 512, "num_workers": max(num_workers, cores() - 1) if num_workers else 0}
        table = cached_features(self.extractor, faces, names, image_size=self.image_size, progress=progress, **cache)
        ends = zip(names, table.dims, accumulate(table.dims), strict=True)
        single = {name: slice(end - dim, end) for name, dim, end in ends}
        self.columns = {name: single.get(name, slice(0, table.dim)) for name in wanted}
        self.pixels = table.image_size
        self._tables[id(faces)] = faces, table
        self.seconds += time.perf_counter() - started

    def table(self, faces: FaceSet) -> FeatureTable:
        """The features of a split that was read."""
        return self._tables[id(faces)][1]

    def split(self, features: Tensor) -> dict[str, Tensor]:
        """Rows of a table (B, D), as loaders give them, by feature."""
        return {name: features[:, columns] for name, columns in self.columns.items()}

    def loader(self, part: Part, batch_size: int = EVALUATION_BATCH, shuffle: bool = False) -> FeatureBatches:
        """Batches of samples, from memory where the features fit."""
        table = self.table(part.faces)
        return FeatureBatches(part, table, self._in_memory(part.faces, table), batch_size, shuffle, self.seed)

    def _wanted(self, known: Sequence[str]) -> list[str]:
        """The features that are asked for, ``concat`` first; that of a hand-made extractor has only one name."""
        if self.hand_made:
            return list(known)
        if unknown := [name for name in self.features if name not in (*known, CONCAT)]:
            raise UsageError(f"model.feature {unknown[0]}: this encoder has {', '.join(known)}, or {CONCAT} for all")
        return sorted(self.features, key=lambda name: name != CONCAT)

    def _in_memory(self, faces: FaceSet, table: FeatureTable) -> Tensor | None:
        if id(faces) not in self._loaded:
            held = sum(value.nbytes for value in self._loaded.values())
            if held + table.nbytes > self.memory_gb * 1e9:
                return None
            self._loaded[id(faces)] = table.load().to(self.device)
        return self._loaded[id(faces)]
