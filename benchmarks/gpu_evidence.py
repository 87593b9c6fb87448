"""Evidence from a bare GPU machine in one call: speed, waits of the fit loop, and three methods on FER-2013.

python benchmarks/gpu_evidence.py --data FER2013 --minutes 14 --out evidence

FER2013 is the folder of the two zips. No network is needed and nothing is asked. OUT/results.json is rewritten after
every part, small results come first, and each part ends at its own time limit.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
METHODS: dict[str, list[str]] = {
    "pcfrl": [],
    "pcl": ["--config", "pcfrl:method/pcl"],
    "simclr": ["--config", "pcfrl:method/simclr"],
}
START = 75.0  # seconds of a training beside its epochs: imports, compilation, the first batches
SHARE = 0.85  # of the time that is left for the epochs; the rest is for what was not foreseen


class WatchedEpoch(L.Callback):
    """Every step of the second epoch in a mode of ``torch.cuda.set_sync_debug_mode``; writes how long the epoch took.

    ``error`` ends the run in the first operation that makes the host wait for the device. The first epoch compiles and
    fills caches, and between epochs Lightning reads means of what was logged. Without a GPU only the time is measured.
    """

    def __init__(self, path: str, mode: str = "error") -> None:
        self.path, self.mode, self.started = Path(path), mode, 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to watch the second epoch."""
        if trainer.current_epoch == 1:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
                torch.cuda.set_sync_debug_mode(self.mode)
            self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End with the last step."""
        if trainer.current_epoch == 1 and batch_idx + 1 == trainer.num_training_batches:
            waits = f"not looked for ({self.mode})" if self.mode != "error" else "none"
            if torch.cuda.is_available():
                torch.cuda.set_sync_debug_mode("default")
                torch.cuda.synchronize()
            else:
                waits = "not measured: no GPU"
            seconds, images = time.perf_counter() - self.started, (batch_idx + 1) * len(next(iter(batch.values())))
            facts = {"steps": batch_idx + 1, "seconds": seconds, "images_per_second": images / seconds}
            self.path.write_text(json.dumps(facts | {"waits": waits}))


class Trained(L.Callback):
    """Writes what a run has done: epochs, steps, images seen and seconds, all of ``fit`` included."""

    def __init__(self, path: str) -> None:
        self.path, self.started, self.images = Path(path), time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count images."""
        self.images += len(next(iter(batch.values())))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file."""
        seconds = time.perf_counter() - self.started
        facts = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "images_seen": self.images}
        self.path.write_text(json.dumps(facts | {"seconds": seconds}))


@dataclass
class Evidence:
    """Parts that were run, their logs, and what is left of the time."""

    options: argparse.Namespace
    started: float = field(default_factory=time.monotonic)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """Folder of all files."""
        return Path(self.options.out)

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return float(self.options.minutes) * 60 - (time.monotonic() - self.started)

    def run(self, name: str, arguments: Sequence[str], result: Path, limit: float) -> bool:
        """One command of ``pcfrl`` in a process of its own; whether it ended well and left ``result`` (JSON)."""
        limit, begun = min(limit, self.left), time.monotonic()
        part: dict[str, Any] = {"command": " ".join(["pcfrl", *arguments]), "log": f"{name}.log", "limit": round(limit)}
        if limit < 1:
            part["status"] = "skipped: no time left"
        else:
            part["status"] = self._process(name, arguments, limit)
        part["seconds"] = round(time.monotonic() - begun, 1)
        if part["status"] == "done":
            try:
                part["result"] = json.loads(result.read_text())
            except (OSError, ValueError) as error:
                part["status"] = f"failed: no result ({error})"
        self.add(name, part)
        return part["status"] == "done"

    def add(self, name: str, part: dict[str, Any]) -> None:
        """Write results.json with one more part."""
        self.parts[name] = part
        options = {key: str(value) if isinstance(value, Path) else value for key, value in vars(self.options).items()}
        whole = {"options": options, "minutes_used": (time.monotonic() - self.started) / 60, "parts": self.parts}
        part_file = self.out / "results.json.part"
        part_file.write_text(json.dumps(whole, indent=1) + "\n")
        part_file.replace(self.out / "results.json")
        print(f"{name}: {part['status']}, {part.get('seconds', 0)} s", flush=True)

    def _process(self, name: str, arguments: Sequence[str], limit: float) -> str:
        command = [sys.executable, "-m", "pcfrl_lightning", *arguments]
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        if (ROOT / "src").is_dir():
            paths.insert(1, str(ROOT / "src"))
        variables = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with (self.out / f"{name}.log").open("wb") as log:
            output: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, env=variables, start_new_session=True, **output)
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                _end(process)
                return "ended at its time limit"
        return "done" if status == 0 else f"failed with exit status {status}"


def main(arguments: Sequence[str]) -> int:
    """Run all parts; returns 0 if every one ended well."""
    options = _parser().parse_args(arguments)
    evidence = Evidence(options)
    data = options.out / "data/fer2013"
    provide(options.data, data, options.images)
    evidence.add("machine", {"status": "done", "result": machine()})
    bench = ["bench", "step", "--width", str(options.width), "--image-size", str(options.image_size)]
    bench += ["--batch-size", str(options.batch_size), "--steps", str(options.steps)]
    for name, compiler in (("bench", "--compile"), ("bench_plain", "--no-compile")):
        speed = options.out / f"{name}.json"
        evidence.run(name, [*bench, compiler, "--json", str(speed)], speed, evidence.left / 8)
    epoch = time_epoch(evidence, data)
    if epoch is not None:
        train_all(evidence, data, epoch)
    return 0 if all(part["status"] == "done" for part in evidence.parts.values()) else 1


def time_epoch(evidence: Evidence, data: Path) -> float | None:
    """Seconds of an epoch of PCFRL: of the watched one, or, where a wait ended that, of one that may wait."""
    for name, mode in (("waits", "error"), ("epoch", "default")):
        watched = evidence.options.out / f"{name}.json"
        callback = {"class_path": "gpu_evidence.WatchedEpoch", "init_args": {"path": str(watched), "mode": mode}}
        fit = fit_arguments(evidence.options, data, name, "pcfrl", 2, [callback])
        if evidence.run(name, fit, watched, evidence.left / 4):
            return float(evidence.parts[name]["result"]["seconds"])
    return None


def train_all(evidence: Evidence, data: Path, epoch_seconds: float) -> None:
    """The methods one after the other, each evaluated before the next begins, all with the same number of images."""
    options, evaluation = evidence.options, evidence.options.evaluation_minutes * 60
    epochs = epochs_that_fit(evidence.left, epoch_seconds, len(options.methods), evaluation)
    for number, method in enumerate(options.methods):
        share = evidence.left / (len(options.methods) - number)
        done = options.out / f"trained_{method}.json"
        callbacks = [
            {"class_path": "gpu_evidence.Trained", "init_args": {"path": str(done)}},
            {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"filename": "last"}},
        ]
        fit = fit_arguments(options, data, method, method, epochs, callbacks)
        if evidence.run(f"train_{method}", fit, done, max(share - evaluation, share / 2)):
            checkpoint, folder = (
                options.out / "runs" / method / "checkpoints/last.ckpt",
                options.out / "fer2013" / method,
            )
            evaluate = ["evaluate", str(checkpoint), "--data-root", str(data.parent), "--tasks", "fer2013"]
            evaluate += ["--epochs", str(options.probe_epochs), "--seed", str(options.seed), "--out", str(folder)]
            evidence.run(f"evaluate_{method}", evaluate, folder / "summary.json", max(evaluation, share / 2))


def epochs_that_fit(left: float, epoch_seconds: float, methods: int, evaluation: float) -> int:
    """Epochs of each method, at least 1, so that all are trained and evaluated in ``left`` seconds."""
    return max(1, int(SHARE * (left / methods - evaluation - START) / epoch_seconds))


def fit_arguments(
    options: argparse.Namespace, data: Path, name: str, method: str, epochs: int, callbacks: list[dict[str, Any]]
) -> list[str]:
    """Arguments of ``pcfrl``: views of pretrain.yaml and the trunk of the paper for all methods."""
    import pcfrl_lightning

    recipe = yaml.safe_load((Path(pcfrl_lightning.__file__).parent / "configs/pretrain.yaml").read_text())
    logger = {"save_dir": str(options.out / "runs"), "name": name, "version": ""}
    trunk = {"class_path": "pcfrl_lightning.networks.FaceBackbone", "init_args": {"width": options.width}}
    images = {"root": str(data), "batch_size": options.batch_size, "num_workers": options.workers}
    images |= {"seed": options.seed, "cache": "memory"}
    config = {
        "seed_everything": options.seed,
        "model": {"init_args": {"image_size": options.image_size, "backbone": trunk}},
        "data": {
            "class_path": "pcfrl_lightning.data.FER2013",
            "init_args": images | {"views": recipe["data"]["init_args"]["views"]},
        },
        "optimizer": {"init_args": {"lr": options.lr}},
        "trainer": {
            "max_epochs": epochs,
            "enable_progress_bar": False,
            "log_every_n_steps": 1_000_000,  # a logging step reads values; means over epochs are logged
            "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": logger},
            "callbacks": callbacks,
        },
    }
    path = options.out / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return ["fit", "--config", "pcfrl:pretrain", *METHODS[method], "--config", str(path)]


def provide(source: Path, target: Path, images: int | None) -> None:
    """FER-2013 where `pcfrl evaluate` looks for it: a link to ``source``, or zips of about so many of its images."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        return
    if images is None:
        target.symlink_to(source.resolve(), target_is_directory=True)
        return
    target.mkdir()
    archives = [zipfile.ZipFile(path) for path in sorted(source.glob("fer2013*.zip"))]
    members = [
        (archive, name) for archive in archives for name in archive.namelist() if name.endswith((".jpg", ".png"))
    ]
    with zipfile.ZipFile(target / "fer2013_part.zip", "w") as part:
        for archive, name in members[:: max(1, len(members) // images)]:
            part.writestr(name, archive.read(name))


def machine() -> dict[str, Any]:
    """Device, processor and versions."""
    from pcfrl_lightning.probes.results import hardware, versions

    return {**hardware(), **versions()}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and the loader workers that it started: the session is its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            continue


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FER2013", help="folder of the zips of FER-2013")
    parser.add_argument("--minutes", type=float, default=14.0, help="for everything (default 14)")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of logs and results")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="in this order")
    parser.add_argument("--width", type=float, default=1.0, help="of the trunk (default 1.0)")
    parser.add_argument("--image-size", type=int, default=64, help="pixels (default 64)")
    parser.add_argument("--batch-size", type=int, default=256, help="images (default 256)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate (default 1e-3)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and views (default 0)")
    workers = max(1, min(14, (os.cpu_count() or 2) - 2))
    parser.add_argument("--workers", type=int, default=workers, help=f"loader processes (default here {workers})")
    parser.add_argument("--steps", type=int, default=30, help="timed steps of the benchmark (default 30)")
    parser.add_argument("--probe-epochs", type=int, default=300, help="of the linear layer (default 300)")
    parser.add_argument("--evaluation-minutes", type=float, default=1.5, help="for each evaluation (default 1.5)")
    parser.add_argument("--images", type=int, help="use about so many images of the data set (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
