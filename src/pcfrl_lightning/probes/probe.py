"""The base of every probe: cached features in, metrics and results.json out."""

import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.probes.features.choice import Baseline, check_source, feature_names, make_extractor
from pcfrl_lightning.probes.features.extract import FeatureChoice, FeatureExtractor
from pcfrl_lightning.probes.features.images import EvaluationImages
from pcfrl_lightning.probes.features.loaders import FeatureBatch, FeatureBatches
from pcfrl_lightning.probes.features.store import CacheType, FeatureTable, cached_features
from pcfrl_lightning.probes.plan import Part, Plan
from pcfrl_lightning.probes.report import print_report
from pcfrl_lightning.probes.results import Metrics, average_folds, describe_run, write_results
from pcfrl_lightning.run_directory import run_directory

EVALUATION_BATCH = 2048


class FeatureProbe(L.LightningModule, ABC):
    """Evaluates frozen features of ``trainer.datamodule``, which are extracted once and then read from a cache.

    Args:
        checkpoint: file with the pretrained network.  With ``baseline: random`` it gives the architecture only.
        baseline: ``random`` (the untrained network), ``lbp``, ``hog`` or ``pixels`` instead of a pretrained one.
        feature: which feature of the network; ``concat`` puts F_s, F_f and F_p side by side.
        image_size: size the images are brought to, pixels.
        cache_dir: folder of the cached features.
        cache_dtype: ``float16`` halves the size; exact for features computed in bf16 (on a GPU).
        memory_gb: features up to this size are held in memory; larger ones are streamed from disk.
        bf16: extract under bf16 autocast; default on a GPU yes, on a CPU no.
        seed: of the initial head, the order of the samples and the untrained network.

    Raises:
        ValueError: contradictory or unknown settings; names the keys.
    """

    task: ClassVar[str]

    def __init__(
        self,
        checkpoint: str | None = None,
        baseline: Baseline | None = None,
        feature: FeatureChoice = "f_s",
        image_size: int = 100,
        cache_dir: str = "runs/features",
        cache_dtype: CacheType = "float32",
        memory_gb: float = 6.0,
        bf16: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_source(checkpoint, baseline, feature)
        if image_size < 1:
            raise ValueError(f"model.image_size must be at least 1, got {image_size}")
        if cache_dtype not in ("float32", "float16"):
            raise ValueError(f"model.cache_dtype must be float32 or float16, got {cache_dtype!r}")
        self.save_hyperparameters()
        self.checkpoint, self.baseline, self.feature = checkpoint, baseline, feature
        self.image_size, self.seed = image_size, seed
        self.cache_dir, self.cache_dtype = cache_dir, cache_dtype
        self.memory_gb, self.bf16 = memory_gb, bf16
        self.results: dict[str, Any] = {}
        self.extraction_seconds = 0.0
        self.pixels = image_size
        self._extractor: FeatureExtractor | None = None
        self._tables: dict[int, tuple[FaceSet, FeatureTable]] = {}
        self._loaded: dict[int, Tensor] = {}
        self._plan: Plan | None = None
        self._collected: list[dict[str, Tensor]] = []

    @abstractmethod
    def plan(self, splits: dict[str, FaceSet], stage: str) -> Plan:
        """Which samples are for training, choosing and testing.  Called with the splits of the data module."""

    @abstractmethod
    def test_outputs(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Outputs (K, B, ...) of the heads to be reported: ``last`` and, if there is one, ``best``."""

    @abstractmethod
    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Metrics of outputs (n, ...) of one head on its test samples."""

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Metrics of outputs (K, n, ...): those of each fold on its own samples, averaged over folds."""
        return average_folds(
            [
                self.metrics(outputs[k][mine], {key: value[mine] for key, value in part.targets.items()})
                for k, mine in enumerate(part.members)
            ]
        )

    def prepare(self, plan: Plan, stage: str) -> None:
        """Hook of subclasses, called when the features of a stage are there."""

    def protocol_facts(self) -> dict[str, Any]:
        """Hook of subclasses: what results.json says about protocol, choices and epochs."""
        return {"protocol": "training-free"}

    def loader_options(self, name: str) -> dict[str, Any]:
        """Hook of subclasses: options of the loader of ``train``, ``val`` or ``test``."""
        return {"batch_size": EVALUATION_BATCH}

    def prepare_data(self) -> None:
        """Extract or read the features.  What goes wrong does so here, before loggers touch an earlier run's files."""
        stage = "test" if self.trainer.testing else "fit"
        self._plan = self.plan(self._data().splits, stage)
        for part in self._used(self._plan, stage).values():
            self.table(part.faces)

    def setup(self, stage: str) -> None:
        """Hand loaders of the stage's features to the data module."""
        data = self._data()
        plan = self._plan
        assert plan is not None
        used = self._used(plan, stage)
        data.use_features({name: self._loader(name, part) for name, part in used.items()})
        self.prepare(plan, stage)

    def table(self, faces: FaceSet) -> FeatureTable:
        """The features of a split, extracted when they are not in the cache."""
        if id(faces) not in self._tables:
            started = time.perf_counter()
            device = self.trainer.strategy.root_device
            if self._extractor is None:
                self._extractor = make_extractor(self.checkpoint, self.baseline, device, self.bf16, self.seed)
            tables = cached_features(
                self._extractor,
                faces,
                feature_names(self.baseline, self.feature),
                image_size=self.image_size,
                cache_dir=self.cache_dir,
                dtype=self.cache_dtype,
                num_workers=getattr(self._data(), "num_workers", 0),
                progress=self.trainer.progress_bar_callback is not None,
            )
            self.pixels = EvaluationImages(faces, self.image_size, self._extractor.enlarges).size
            self._tables[id(faces)] = faces, FeatureTable.side_by_side(list(tables.values()))
            self.extraction_seconds += time.perf_counter() - started
        return self._tables[id(faces)][1]

    def test_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Collect the outputs; the metrics are computed on all of them at once."""
        self._collected.append({name: value.detach().cpu() for name, value in self.test_outputs(batch).items()})

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics: ``test/...`` of the last epoch, ``test_best/...`` of the best one."""
        assert self._plan is not None
        assert self._plan.test is not None
        collected, self._collected = self._collected, []
        found: dict[str, Metrics] = {}
        for name in collected[0]:
            outputs = torch.cat([item[name] for item in collected], dim=1)
            found[name] = self.evaluate(outputs, self._plan.test)
            prefix = "test" if name == "last" else f"test_{name}"
            scalars = {f"{prefix}/{key}": value for key, value in found[name].items() if isinstance(value, float)}
            self.log_dict(scalars, batch_size=1)
        facts = self.protocol_facts()
        self.results = describe_run(self, self._data(), self._plan, found, facts)

    def on_test_end(self) -> None:
        """Write results.json into the run directory and print the table."""
        path = write_results(run_directory(self.trainer) / "results.json", self.results)
        print_report(self.results, path)

    @staticmethod
    def _used(plan: Plan, stage: str) -> dict[str, Part]:
        parts = {"test": plan.test} if stage == "test" else {"train": plan.train, "val": plan.choice}
        return {name: part for name, part in parts.items() if part is not None}

    def _loader(self, name: str, part: Part) -> FeatureBatches:
        table = self.table(part.faces)
        return FeatureBatches(part, table, self._in_memory(part.faces, table), **self.loader_options(name))

    def _in_memory(self, faces: FaceSet, table: FeatureTable) -> Tensor | None:
        if id(faces) not in self._loaded:
            held = sum(value.nbytes for value in self._loaded.values())
            if held + table.nbytes > self.memory_gb * 1e9:
                return None
            self._loaded[id(faces)] = table.load().to(self.trainer.strategy.root_device)
        return self._loaded[id(faces)]

    def _data(self) -> Any:
        if self.trainer.world_size > 1:
            raise UsageError("a probe trains on cached features in seconds: run it with trainer.devices: 1")
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "use_features"):
            raise UsageError(f"{type(self).__name__} needs a data module derived from pcfrl_lightning.data.FaceData")
        return data
