"""``--ckpt_path``: the file is there, and of the model and the schedule that the command describes; ``--init_from``."""

import traceback
from pathlib import Path
from typing import Any

import lightning as L

from pcfrl_lightning import __version__
from pcfrl_lightning.errors import UsageError, one_line
from pcfrl_lightning.files import file_sha256
from pcfrl_lightning.methods.base import CHECKPOINT_FORMAT
from pcfrl_lightning.methods.momentum import MomentumCopy
from pcfrl_lightning.networks.checkpoint import latest, read_checkpoint
from pcfrl_lightning.networks.stored import read_stored
from pcfrl_lightning.run_directory import run_directory

FREE = {"_instantiator", "compile_network", "cache_dir", "memory_gb"}
"""Settings that do not change what is computed."""
RESUMED = {"optimizer_states", "lr_schedulers", "loops"}
"""What a run goes on from, beside weights."""


def checkpoint_file(given: str, trainer: L.Trainer) -> Path:
    """The file that ``--ckpt_path`` stands for: a path, or ``last`` in the folder of the run.

    Lightning itself begins from nothing where there is no last checkpoint; here it is a `UsageError`.
    """
    if given == "best":
        raise UsageError("--ckpt_path best: only a running fit knows its best checkpoint; give the path of the file")
    if given not in ("last", "hpc"):
        return Path(given)
    folders = [Path(trainer.default_root_dir)]
    if given == "last":
        own = [getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks]
        folders = [Path(folder) if folder else run_directory(trainer) / "checkpoints" for folder in own]
    pattern = {"last": "last*.ckpt", "hpc": "hpc_ckpt_*.ckpt"}[given]
    found = [path for folder in folders for path in folder.glob(pattern)]
    if not found:
        places = ", ".join(sorted({str(folder) for folder in folders})) or "a run without checkpoints"
        raise UsageError(f"--ckpt_path {given}: there is no {pattern} in {places}; give the path of the file")
    return latest(found)


def check_checkpoint(
    path: str, settings: dict[str, Any], end: tuple[str, int | None] | None = None, epochs: int | None = None
) -> None:
    """Refuse a checkpoint that the command cannot go on from: no file, no checkpoint, no run, or one of another model.

    Args:
        path: of the checkpoint.
        settings: hyper-parameters of the model that the command built.
        end: where the cosine of a run that is resumed ends: the key that says so, and the epoch. None: only the weights
            are used.
        epochs: after how many the run that is resumed ends; None: it is bounded otherwise.
    """
    checkpoint = read_checkpoint(path)
    check_version(checkpoint.get("method"), path)
    stored = checkpoint.get("hyper_parameters")
    stored = stored if isinstance(stored, dict) else {}
    differing = [
        f"model.{key} is {there!s:.100} there and {here!s:.100} here"
        for name in sorted((stored.keys() & settings.keys()) - FREE)
        for key, there, here in differences(name, stored[name], settings[name])
    ]
    if differing:
        raise UsageError(f"checkpoint {path} is of another model: {'; '.join(differing)}. Give the config of its run")
    if end is None:
        return
    if not checkpoint.keys() >= RESUMED:
        raise UsageError(f"checkpoint {path} holds weights, but no run to go on with; give --init_from {path}")
    if isinstance(checkpoint["lr_schedulers"], list):
        check_same_schedule(checkpoint["lr_schedulers"], end, path)
    check_unfinished(checkpoint["loops"], epochs, path)


def begin_with(model: L.LightningModule, source: str) -> None:
    """Give the weights of an encoder to the network of a method, and to the copy that follows it."""
    network = getattr(model, "network", None)
    if network is None:
        raise UsageError(f"{type(model).__name__} has no encoder to begin with: leave --init_from out")
    try:
        network.load_state_dict(read_stored(source).state)
    except RuntimeError as error:
        raise UsageError(f"--init_from {source} is of another network: {one_line(error)}") from error
    for part in model.modules():
        if isinstance(part, MomentumCopy):
            part.network.load_state_dict(network.state_dict())


def check_version(state: Any, path: str) -> None:
    """Refuse a checkpoint of a later version of this package; those of earlier ones are read."""
    state = state if isinstance(state, dict) else {}
    if state.get("format", 1) not in range(1, CHECKPOINT_FORMAT + 1):
        raise UsageError(
            f"checkpoint {path} is of pcfrl-lightning {state.get('version', '?')!s:.20}, which this version, "
            f"{__version__}, cannot go on with: install that one"
        )


def check_unfinished(loops: Any, epochs: int | None, path: str) -> None:
    """Refuse to resume a run that has trained all its epochs: Lightning would do nothing, with status 0."""
    try:
        done = loops["fit_loop"]["epoch_progress"]["current"]["processed"]
    except (KeyError, TypeError):  # of another version of Lightning
        return
    if isinstance(done, int) and epochs is not None and 0 < epochs <= done:
        raise UsageError(
            f"{path} is the end of a run, {done} of {epochs} epochs are done: to train on, begin a new run with its "
            f"weights, --init_from {path} --trainer.max_epochs MORE (where there is no encoder, fit anew)"
        )


def check_same_schedule(schedulers: list[Any], end: tuple[str, int | None], path: str = "CHECKPOINT") -> None:
    """Refuse to resume with another end: a cosine annealed to its end would rise again.

    States without ``T_max`` are no cosines.
    """
    for stored in (state["T_max"] for state in schedulers if isinstance(state, dict) and "T_max" in state):
        if stored != end[1]:
            raise UsageError(
                f"the checkpoint's cosine schedule ends at epoch {stored}; give --{end[0]} {stored}, or begin a "
                f"new run with its weights: --init_from {path} in place of --ckpt_path"
            )


def differences(key: str, there: Any, here: Any) -> list[tuple[str, Any, Any]]:
    """Key and both values of everything that differs in two nested settings; keys that only one knows are passed over,
    so that checkpoints of earlier versions can be resumed, and so are the modules that classes lie in."""
    if isinstance(there, dict) and isinstance(here, dict):
        shared = sorted(there.keys() & here.keys())
        inner = [differences(f"{key}.{name}", there[name], here[name]) for name in shared]
        return [found for each in inner for found in each]
    if key.endswith("class_path") and str(there).rpartition(".")[2] == str(here).rpartition(".")[2]:
        return []
    if there == here or (key == "checkpoint" and _same_file(there, here)):
        return []
    if there is None and isinstance(here, dict) and here.get("class_path") and not here.get("init_args"):
        return []  # an earlier version kept None for a default that is now written out
    return [(key.replace(".init_args", ""), there, here)]


def loading_failed(error: Exception) -> bool:
    """Whether an error comes from where Lightning loads a checkpoint, whatever is wrong with the file."""
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [code.co_name.lstrip("_") for code in frames if code.co_filename.endswith("checkpoint_connector.py")]
    return any(name.startswith(("restore", "resume")) for name in names)


def _same_file(there: Any, here: Any) -> bool:
    """Whether two paths are one file, or copies of it."""
    paths = [Path(path) for path in (there, here) if path]
    if len(paths) < 2 or not all(path.is_file() for path in paths):
        return False
    return paths[0].resolve() == paths[1].resolve() or file_sha256(paths[0]) == file_sha256(paths[1])
