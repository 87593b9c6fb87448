"""``--ckpt_path``: the checkpoint must be one of the model, and of the schedule, that the command describes."""

from pathlib import Path
from typing import Any

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.networks.checkpoint import file_sha256, read_checkpoint

FREE = {"_instantiator", "compile_network", "cache_dir", "memory_gb"}
"""Settings that do not change what is computed."""


def check_checkpoint(path: str, settings: dict[str, Any], epochs: int | None = None) -> None:
    """Refuse a checkpoint that the command cannot go on from.

    Args:
        path: of the checkpoint.
        settings: hyper-parameters of the model that the command built.
        epochs: of the run that is resumed with the cosine schedule of this project; None: nothing is resumed, or with
            another schedule.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is no checkpoint.
        UsageError: the model or the schedule differs.
    """
    checkpoint = read_checkpoint(path)
    check_same_model(path, checkpoint.get("hyper_parameters", {}), settings)
    if epochs is not None:
        check_same_schedule(checkpoint.get("lr_schedulers", []), epochs)


def check_same_schedule(schedulers: list[dict[str, Any]], epochs: int) -> None:
    """Refuse to resume for another number of epochs: a cosine annealed to its end would rise again.

    Args:
        schedulers: states in the checkpoint; those without ``T_max`` are no cosines.
        epochs: ``max_epochs`` of the trainer.

    Raises:
        UsageError: names the number of epochs to give.
    """
    for end in (state["T_max"] for state in schedulers if "T_max" in state):
        if end != epochs:
            raise UsageError(f"the checkpoint's cosine schedule ends at epoch {end}; give --trainer.max_epochs {end}")


def check_same_model(path: str, stored: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings of the model.

    Args:
        path: of the checkpoint.
        stored: hyper-parameters in it.
        settings: hyper-parameters of the model that the command built.

    Raises:
        UsageError: a setting differs; names every key with both values.
    """
    differing = [
        f"model.{key} is {there} there and {here} here"
        for name in sorted((stored.keys() & settings.keys()) - FREE)
        for key, there, here in differences(name, stored[name], settings[name])
    ]
    if differing:
        raise UsageError(f"checkpoint {path} is of another model: {'; '.join(differing)}. Give the config of its run")


def differences(key: str, there: Any, here: Any) -> list[tuple[str, Any, Any]]:
    """Key and both values of everything that differs in two nested settings; keys that only one knows are passed over,
    so that checkpoints of earlier versions can be resumed."""
    if isinstance(there, dict) and isinstance(here, dict):
        shared = sorted(there.keys() & here.keys())
        inner = [differences(f"{key}.{name}", there[name], here[name]) for name in shared]
        return [found for each in inner for found in each]
    if there == here or (key == "checkpoint" and _same_file(there, here)):
        return []
    return [(key.replace(".init_args", ""), there, here)]


def _same_file(there: Any, here: Any) -> bool:
    """Whether two paths are one file, or copies of it."""
    paths = [Path(path) for path in (there, here) if path]
    if len(paths) < 2 or not all(path.is_file() for path in paths):
        return False
    return paths[0].resolve() == paths[1].resolve() or file_sha256(paths[0]) == file_sha256(paths[1])
