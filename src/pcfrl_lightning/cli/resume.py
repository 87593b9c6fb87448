"""``--ckpt_path``: the checkpoint must be one of the model that the command describes."""

from pathlib import Path
from typing import Any

from pcfrl_lightning.checkpoint import file_sha256, read_checkpoint
from pcfrl_lightning.errors import UsageError

FREE = {"_instantiator", "compile_network", "cache_dir", "memory_gb"}
"""Settings that do not change what is computed."""


def check_same_model(path: str, settings: dict[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings of the model.

    Args:
        path: of the checkpoint.
        settings: hyper-parameters of the model that the command built.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is no checkpoint.
        UsageError: a setting differs; names every key with both values.
    """
    stored = read_checkpoint(path).get("hyper_parameters", {})
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
