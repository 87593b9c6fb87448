"""What describes an encoder in a checkpoint, in the folder of a run, in an exported folder or on the hub."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from pcfrl_lightning.errors import DataError, one_line, require
from pcfrl_lightning.networks import hub, shipped
from pcfrl_lightning.networks.checkpoint import latest, load_weights, read_checkpoint, strip_wrappers
from pcfrl_lightning.networks.rebuild import PREFIX

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"
_CONFIG_KEYS = {"format", "class", "init_args", "features", "image_size", "pixels"}


class Stored(NamedTuple):
    """What a file says about an encoder: its description, its weights, and the file of these."""

    spec: dict[str, Any]
    state: dict[str, Tensor]
    path: Path


def read_stored(source: str | Path) -> Stored:
    """Description and weights of a checkpoint or of an exported folder."""
    path = locate(source)
    if path.suffix == ".safetensors":
        return Stored(_read_config(path.parent / CONFIG), load_weights(path), path)
    checkpoint = read_checkpoint(path)
    if any(re.match(r"(heads\.\w+\.)?head\.weights\.0", key) for key in checkpoint["state_dict"]):
        raise DataError(f"checkpoint {path} is the head of a probe; give the checkpoint of the pretraining")
    state = {key[len(PREFIX) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(PREFIX)}
    settings = checkpoint["hyper_parameters"]
    # checkpoints without the entry are of PCFRL
    names = ("backbone", "image_size", "projection_dim")
    config = checkpoint.get("encoder") or {
        "class": "PCFRLNetwork",
        "init_args": {key: settings[key] for key in names if key in settings},
    }
    return Stored(_spec(config, path), strip_wrappers(state), path)


def locate(source: str | Path) -> Path:
    """The file with the weights that ``source`` stands for, see `load_encoder`; ``hf:`` names are downloaded.

    Raises:
        FileNotFoundError: a folder without any.
        ValueError: a download failed, or no such weights are in the package.
    """
    places = {hub.PREFIX: hub.pull, shipped.PREFIX: shipped.folder_of}
    named = (place(source) for prefix, place in places.items() if isinstance(source, str) and source.startswith(prefix))
    path = next(named, Path(source))
    if not path.is_dir():
        return path
    return path / WEIGHTS if any((path / name).exists() for name in (CONFIG, WEIGHTS)) else checkpoint_of(path)


def checkpoint_of(run: Path) -> Path:
    """The last checkpoint of a run's folder, in the folder itself or in its ``checkpoints``; else FileNotFoundError."""
    files = [path for folder in (run, run / "checkpoints") for path in folder.glob("*.ckpt")]
    require(
        bool(files),
        f"{run} holds neither the {CONFIG} of an exported encoder nor checkpoints of a run; give the folder of one "
        "run (runs/pretrain/version_0), or a .ckpt file",
        FileNotFoundError,
    )
    return latest(files)


def _read_config(path: Path) -> dict[str, Any]:
    advice = "give a .ckpt file or a folder that `pcfrl export` wrote"
    require(path.is_file(), f"{path} does not exist; {advice}", FileNotFoundError)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # text that is not UTF-8 and numbers of 5000 digits are ValueErrors
        raise DataError(f"{path} is not JSON ({one_line(error)})") from error
    return _spec(content, path)


def _spec(config: Any, path: Path) -> dict[str, Any]:
    """The description of the encoder in its configuration."""
    entries = isinstance(config, dict) and isinstance(config.get("init_args", {}), dict) and "class" in config
    require(entries, f"{path}: the configuration of an encoder has the entries class and init_args", DataError)
    unknown = ", ".join(str(key) for key in config if key not in _CONFIG_KEYS)
    require(not unknown, f"{path}: the configuration has unknown keys: {unknown[:100]}", DataError)
    given = config.get("format", FORMAT)
    require(given == FORMAT, f"{path}: format {given!r:.20} is unknown, this version reads {FORMAT}", DataError)
    return {"class_path": config["class"], "init_args": config.get("init_args", {})}
