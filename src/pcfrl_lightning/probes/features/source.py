"""The features that a probe asks for: made or read once per split, and handed out as loaders."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.probes.features.extract import (
    CONCAT,
    PRECISIONS,
    Baseline,
    FeatureExtractor,
    Precision,
    check_source,
    make_extractor,
)
from pcfrl_lightning.probes.features.handmade import HAND_MADE
from pcfrl_lightning.probes.features.images import EvaluationImages
from pcfrl_lightning.probes.features.loaders import FeatureBatches
from pcfrl_lightning.probes.features.store import FeatureTable, cached_features
from pcfrl_lightning.probes.plan import Part, require

EVALUATION_BATCH = 2048


@dataclass
class FeatureSource:
    """Tables and loaders of the features of one extractor; arguments as of `Probe`, those of the cache as a dictionary.

    Attributes:
        extractor: made when the first table is asked for.
        columns: columns of a batch by feature; known with the first table.
        pixels: size of the images that were looked at.
        seconds: spent on extraction and reading.
    """

    checkpoint: str | None
    baseline: Baseline | None
    features: list[str]
    image_size: int
    weights: str | None
    trust: tuple[str, ...]
    precision: Precision
    cache: dict[str, Any]
    memory_gb: float
    seed: int
    extractor: FeatureExtractor | None = None
    columns: dict[str, slice] = field(default_factory=dict)
    pixels: int = 0
    seconds: float = 0.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _tables: dict[int, tuple[FaceSet, FeatureTable]] = field(default_factory=dict)
    _loaded: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_source(self.checkpoint, self.baseline, self.features)
        require("image_size", self.image_size, self.image_size >= 1, "at least 1")
        require("precision", self.precision, self.precision in PRECISIONS, ", ".join(PRECISIONS))
        dtype = self.cache["dtype"]
        require("cache_dtype", dtype, dtype in ("float32", "float16"), "float32 or float16")

    @property
    def hand_made(self) -> bool:
        """Whether no network is involved."""
        return self.baseline in HAND_MADE

    def read(self, faces: FaceSet, device: torch.device, num_workers: int = 0, progress: bool = False) -> None:
        """Extract the features of a split, unless they are in the cache.

        Raises:
            FileNotFoundError, ValueError: see `make_extractor`; or the encoder does not have a feature.
            DataError: see `cached_features`.
        """
        if id(faces) in self._tables:
            return
        started = time.perf_counter()
        self.device = device
        if self.extractor is None:
            options: dict[str, Any] = {"seed": self.seed, "weights": self.weights, "trust": self.trust}
            self.extractor = make_extractor(self.checkpoint, self.baseline, device, self.precision, **options)
        parts = self._parts(self.extractor.names)
        names = list(dict.fromkeys(name for each in parts.values() for name in each))
        reading: dict[str, Any] = {"num_workers": num_workers, "progress": progress, **self.cache}
        table = cached_features(self.extractor, faces, names, image_size=self.image_size, **reading)
        starts = dict(zip(names, [sum(table.dims[:i]) for i in range(len(names))], strict=True))
        widths = dict(zip(names, table.dims, strict=True))
        self.columns = {name: slice(starts[p[0]], starts[p[-1]] + widths[p[-1]]) for name, p in parts.items()}
        self.pixels = EvaluationImages(faces, self.image_size, self.extractor.enlarges).size
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

    def _parts(self, known: tuple[str, ...]) -> dict[str, list[str]]:
        """What each wanted feature is made of: itself, or for ``concat`` all features of the encoder."""
        if self.hand_made:
            return {known[0]: list(known)}
        for name in self.features:
            if name not in (*known, CONCAT):
                raise ValueError(f"model.feature {name}: this encoder has {', '.join(known)}, or {CONCAT} for all")
        # `concat` first, so that its columns lie side by side
        ordered = sorted(self.features, key=lambda name: name != CONCAT)
        return {name: list(known) if name == CONCAT else [name] for name in ordered}

    def _in_memory(self, faces: FaceSet, table: FeatureTable) -> Tensor | None:
        if id(faces) not in self._loaded:
            held = sum(value.nbytes for value in self._loaded.values())
            if held + table.nbytes > self.memory_gb * 1e9:
                return None
            self._loaded[id(faces)] = table.load().to(self.device)
        return self._loaded[id(faces)]
