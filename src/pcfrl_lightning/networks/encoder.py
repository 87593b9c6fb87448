"""The one way from a file, or a model of another library, to features."""

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks.checkpoint import load_weights, one_line, read_checkpoint, strip_wrappers
from pcfrl_lightning.networks.rebuild import PREFIX, build, describe, find_class, rebuild

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"
LIBRARIES = {"timm": "TimmEncoder", "torchvision": "TorchvisionEncoder"}
_CONFIG_KEYS = {"format", "class", "init_args", "features", "image_size", "pixels"}
_TOLERANCE = 1e-3  # resizing leaves [0, 1] by rounding errors


class Encoder(nn.Module, ABC):
    """A network that turns images into flat features.

    A subclass sets ``feature_names`` and ``image_size``, implements `encode`, and keeps each argument of ``__init__``
    in an attribute of its name, so that `config` can describe it.

    Attributes:
        feature_names: names of the features, such as ``("f_s", "f_f", "f_p")``; the first is the default of probes.
        image_size: side in pixels that the network was made for; `features` takes any size that the network takes.
    """

    feature_names: tuple[str, ...] = ("f_s",)
    image_size: int

    @abstractmethod
    def encode(self, images: Tensor) -> Any:
        """(B, 3, H, W) floats in [0, 1] to one tensor (B, ...) per name of ``feature_names``, as a tuple."""

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Every feature from one forward pass.

        Args:
            images: (B, 3, H, W) or (B, 1, H, W), uint8 or floats in [0, 1], on any device.

        Returns:
            float32 (B, D) by name, on the device of the encoder.

        Raises:
            ValueError: other shapes, types or values (values are looked at on the CPU only).
        """
        _check_images(images)
        parameter = next(self.parameters(), torch.empty(0))
        pixels = images.to(parameter.device, non_blocking=True)  # bytes travel as bytes
        pixels = (pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels).to(parameter.dtype)
        try:
            values = self.encode(pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
        except AssertionError as error:  # how timm and torchvision refuse a size
            raise ValueError(
                f"{type(self).__name__} cannot take images of {images.shape[2]} x {images.shape[3]} px "
                f"(it was made for {self.image_size}): {one_line(error)}"
            ) from error
        return {name: value.flatten(1).float() for name, value in zip(self.feature_names, values, strict=True)}

    @property
    def config(self) -> dict[str, Any]:
        """What rebuilds the encoder without its weights, in JSON's types.

        Raises:
            TypeError: a part does not keep its arguments in attributes.
        """
        described = describe(self)
        return {
            "format": FORMAT,
            "class": described["class_path"],
            "init_args": described["init_args"],
            "features": list(self.feature_names),
            "image_size": self.image_size,
            "pixels": "RGB, float in [0, 1] or uint8",
        }

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json``; `load_encoder` of the folder gives the same features.

        Each file appears complete or not at all.
        """
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = json.dumps(self.config, indent=2) + "\n"
        # clones, because weights that share memory are refused
        state = {key: value.detach().cpu().contiguous().clone() for key, value in self.state_dict().items()}
        save_file(state, folder / f"{WEIGHTS}.part", metadata={"format": "pt"})
        (folder / f"{CONFIG}.part").write_text(config, encoding="utf-8")
        for name in (WEIGHTS, CONFIG):
            os.replace(folder / f"{name}.part", folder / name)
        return folder


def load_encoder(source: str | Path, *, trust: str | Iterable[str] = (), weights: str | Path | None = None) -> Encoder:
    """A trained encoder in evaluation mode, its weights frozen.

    Args:
        source: a checkpoint of ``pcfrl fit`` or ``pcfrl import-pcl``; a folder written by `Encoder.save`, or the
            ``.safetensors`` in it; ``timm:NAME`` or ``torchvision:NAME``.
        trust: packages of your own whose classes the file may name (``my_package``).
        weights: state dict (``.safetensors``, ``.pth``) for ``timm:`` and ``torchvision:``; without it their own
            weights are downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is damaged, names a class that is not trusted, or does not hold what it describes.
        ValueError: the library does not know the name, or the download failed.
    """
    library, name = _library(source)
    if library is not None:
        encoder = library.pretrained(name, weights)
    elif weights is not None:
        raise ValueError(f"weights= goes with timm:NAME or torchvision:NAME, not with {source}")
    else:
        stored = _read(source)
        encoder = rebuild(partial(_make, stored.spec, trust), stored.state, stored.path, trusted=bool(trust))
    return _frozen(encoder)


def untrained_encoder(source: str | Path | None, seed: int, *, trust: str | Iterable[str] = ()) -> Encoder:
    """The architecture of ``source`` (see `load_encoder`; None: the paper's) with fresh weights drawn from ``seed``.

    Nothing is downloaded, and a backbone that was pretrained elsewhere is untrained, too.
    """
    library, name = _library(source)
    if library is not None:
        make: Callable[[], Encoder] = partial(library, name)
    elif source is None:
        make = partial(build, {"class_path": "PCFRLNetwork"})
    else:
        stored = _read(source)
        make = partial(_make, stored.spec, trust)
        # a file that describes more than it holds is refused
        rebuild(make, stored.state, stored.path, trusted=bool(trust))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _frozen(make())


def encoder_identity(source: str | Path | Encoder, *, trust: str | Iterable[str] = ()) -> str:
    """SHA-256 of configuration and weights: equal for a checkpoint and the folder exported from it."""
    encoder = source if isinstance(source, Encoder) else load_encoder(source, trust=trust)
    config = json.dumps({key: encoder.config[key] for key in ("class", "init_args")}, sort_keys=True)
    # modules of this project may move
    digest = hashlib.sha256(re.sub(r'"pcfrl_lightning\.[\w.]*?(\w+)"', r'"\1"', config).encode())
    for name, value in encoder.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class _Stored(NamedTuple):
    spec: dict[str, Any]
    state: dict[str, Tensor]
    path: Path


def _read(source: str | Path) -> _Stored:
    """Description and weights of a checkpoint or of an exported folder."""
    path = Path(source)
    if path.is_dir() or path.suffix == ".safetensors":
        folder = path if path.is_dir() else path.parent
        path = folder / WEIGHTS if path.is_dir() else path
        return _Stored(_read_config(folder / CONFIG), load_weights(path), path)
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
    return _Stored(_spec(config, path), strip_wrappers(state), path)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a .ckpt file or a folder that Encoder.save wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # text that is not UTF-8 and numbers of 5000 digits are ValueErrors
        raise DataError(f"{path} is not JSON ({one_line(error)})") from error
    return _spec(content, path)


def _spec(config: Any, path: Path) -> dict[str, Any]:
    """The description of the encoder in its configuration."""
    if not isinstance(config, dict) or not isinstance(config.get("init_args", {}), dict) or "class" not in config:
        raise DataError(f"{path}: the configuration of an encoder has the entries class and init_args")
    if unknown := [str(key) for key in config if key not in _CONFIG_KEYS]:
        raise DataError(f"{path}: the configuration has unknown keys: {', '.join(unknown)[:100]}")
    if config.get("format", FORMAT) != FORMAT:
        raise DataError(f"{path}: format {config['format']!r:.20} is unknown, this version reads {FORMAT}")
    return {"class_path": config["class"], "init_args": config.get("init_args", {})}


def _make(spec: dict[str, Any], trust: str | Iterable[str]) -> Encoder:
    if not issubclass(find_class(spec["class_path"], trust), Encoder):
        raise ValueError(f"class {spec['class_path'][:100]!r} is not an Encoder")
    encoder: Encoder = build(spec, trust)
    return encoder


def _library(source: str | Path | None) -> tuple[Any, str]:
    """The class that wraps the library named before the colon, and what follows it; (None, "") for files."""
    library, colon, name = str(source).partition(":")
    return (find_class(LIBRARIES[library]), name) if colon and library in LIBRARIES else (None, "")


def _frozen(encoder: Encoder) -> Encoder:
    encoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return encoder


def _check_images(images: Any) -> None:
    wanted = "features() takes (B, 3, H, W) or (B, 1, H, W) images, uint8 or float in [0, 1]"
    if not isinstance(images, Tensor):
        raise ValueError(f"{wanted}; got {type(images).__name__}, not a torch tensor")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"{wanted}; got shape {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise ValueError(f"{wanted}; got dtype {str(images.dtype).removeprefix('torch.')}")
    if images.device.type == "cpu" and images.numel():
        low, high = (value.item() for value in images.detach().aminmax())
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # also false for NaN
            raise ValueError(f"{wanted}; got floats from {low:.4g} to {high:.4g}")
