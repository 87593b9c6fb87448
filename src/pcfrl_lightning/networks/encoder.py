"""The one way from a file, or a model of another library, to features."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import one_line, require
from pcfrl_lightning.files import replacing
from pcfrl_lightning.networks.pictures import Pictures, square_batches
from pcfrl_lightning.networks.rebuild import build, describe, find_class, rebuild
from pcfrl_lightning.networks.stored import CONFIG, FORMAT, WEIGHTS, read_stored

LIBRARIES = {"timm": "TimmEncoder", "torchvision": "TorchvisionEncoder"}
_AT_ONCE, _LARGEST_OUTPUT = range(16, 65), 5e6
"""Images of a forward pass on a CPU, and bytes of its largest output, which should stay in the caches of the processor:
at width 1.0 16 images at once are faster than 64, small networks want more (benchmarks/images_at_once.py)."""
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
        """Every feature from one forward pass; on a CPU, without gradient, from a pass for every 16 to 64 images.

        Args:
            images: (B, 3, H, W) or (B, 1, H, W), uint8 or floats in [0, 1], on any device.

        Returns:
            float32 (B, D) by name, on the device of the encoder.

        Raises:
            ValueError: other shapes, types or values (values are looked at on the CPU only).
        """
        _check_images(images)
        device = next(self.parameters(), torch.empty(0)).device
        pixels = images.to(device, non_blocking=True)  # bytes travel as bytes
        if device.type == "cpu" and not (self.training or torch.is_grad_enabled()):
            parts = self._few_at_once(pixels)
        else:
            parts = [self._of_part(pixels)]
        columns = zip(*parts, strict=True)
        return {name: torch.cat(column) for name, column in zip(self.feature_names, columns, strict=True)}

    def _few_at_once(self, pixels: Tensor) -> list[list[Tensor]]:
        """The first images tell how many of the others suit the processor."""
        largest = 1  # bytes of an output, for an image

        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal largest
            largest = max(largest, output[:1].nbytes if isinstance(output, Tensor) and output.ndim else 0)

        seen = (module for module in self.modules() if not isinstance(module, torch.jit.ScriptModule))  # takes no hooks
        hooks = [module.register_forward_hook(look) for module in seen]
        try:
            parts = [self._of_part(pixels[: _AT_ONCE.start])]
        finally:
            for hook in hooks:
                hook.remove()
        at_once = min(max(int(_LARGEST_OUTPUT / largest), _AT_ONCE.start), _AT_ONCE.stop - 1)
        rest = pixels[_AT_ONCE.start :]
        return parts + [self._of_part(part) for part in rest.split(at_once) if len(rest)]

    def _of_part(self, pixels: Tensor) -> list[Tensor]:
        weights = next(self.parameters(), torch.empty(0))
        pixels = (pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels).to(weights.dtype)
        try:
            values = self.encode(pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
        except AssertionError as error:  # how timm and torchvision refuse a size
            raise ValueError(
                f"{type(self).__name__} cannot take images of {pixels.shape[2]} x {pixels.shape[3]} px "
                f"(it was made for {self.image_size}): {one_line(error)}"
            ) from error
        return [value.flatten(1).float() for value in values]

    @property
    def embed_size(self) -> int:
        """Side in pixels to which `embed` resizes: that of the probes, since the size of the pretraining gives worse
        features (people of ORL: 70.8 % at 48 px, where the encoder was trained, 88.5 % at 100 px)."""
        return 100

    @torch.inference_mode()
    def embed(self, pictures: Pictures, batch_size: int = 64, image_size: int | None = None) -> dict[str, np.ndarray]:
        """Features of files, arrays and tensors of any size, as `pcfrl embed` computes them.

        Args:
            pictures: see `pcfrl_lightning.networks.pictures`; their centre squares are resized.
            batch_size: pictures per forward pass.
            image_size: side in pixels to resize to; default: `embed_size`.

        Returns:
            float32 (n, D) by name.

        Raises:
            ValueError: something that is no picture, or a size that the network cannot take.
            DataError: a file that cannot be read; names it.

        Example:
            ``load_encoder("runs/pretrain/version_0").embed(["a.jpg", "b.jpg"])["f_s"]``
        """
        batches = square_batches(pictures, image_size or self.embed_size, batch_size)
        with evaluating(self):
            found = [{name: value.cpu().numpy() for name, value in self.features(each).items()} for each in batches]
        return {name: np.concatenate([each[name] for each in found]) for name in self.feature_names}

    def swap_pose(self, faces: Pictures, poses: Pictures) -> Tensor:
        """See `PCFRLNetwork.swap_pose`; ValueError from an encoder without a decoder."""
        raise ValueError(f"{type(self).__name__} has no decoder, so it cannot swap poses; give a checkpoint of PCFRL")

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

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write ``model.safetensors`` and ``config.json``; `load_encoder` of the folder gives the same features.

        Each file appears complete or not at all.

        Args:
            folder: is made.
            dtype: of the floating-point weights in the file, such as float16 for half its size; default: as they are.
                They are read back as float32.

        Raises:
            ValueError: a weight is too large for ``dtype``; names it.
        """
        from safetensors.torch import save

        folder = Path(folder)
        config = json.dumps(self.config, indent=2) + "\n"
        # clones, because weights that share memory are refused
        state = {key: value.detach().cpu().contiguous().clone() for key, value in self.state_dict().items()}
        for key, value in state.items() if dtype else ():
            if value.is_floating_point():
                state[key] = value.to(dtype)
                require(bool(state[key].isfinite().all()), f"{key} has values that are too large for {dtype}")
        with replacing(folder / WEIGHTS) as weights, replacing(folder / CONFIG) as description:
            weights.write_bytes(save(state, metadata={"format": "pt"}))  # save_file would make it private to its owner
            description.write_text(config, encoding="utf-8")
        return folder


def load_encoder(source: str | Path, *, trust: str | Iterable[str] = (), weights: str | Path | None = None) -> Encoder:
    """A trained encoder in evaluation mode, its weights frozen.

    Args:
        source: a checkpoint of ``pcfrl fit`` or ``pcfrl import-pcl``, or the folder of a run; a folder written by
            `Encoder.save` or ``pcfrl export``, or the ``.safetensors`` in it; ``hf:OWNER/NAME`` for such a folder on
            the Hugging Face hub, ``pretrained:NAME`` for one in this package; ``timm:NAME`` or ``torchvision:NAME``.
        trust: packages of your own whose classes the file may name (``my_package``).
        weights: state dict (``.safetensors``, ``.pth``) for ``timm:`` and ``torchvision:``; without it their own
            weights are downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is damaged, names a class that is not trusted, or does not hold what it describes.
        ValueError: the library or this package does not know the name, or the download failed.
    """
    library, name = _library(source)
    if library is not None:
        encoder = library.pretrained(name, weights)
    elif weights is not None:
        raise ValueError(f"weights (--weights) go with timm:NAME or torchvision:NAME, not with {source}")
    else:
        stored = read_stored(source)
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
        stored = read_stored(source)
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


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part has the mode that it had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _make(spec: dict[str, Any], trust: str | Iterable[str]) -> Encoder:
    accepted = issubclass(find_class(spec["class_path"], trust), Encoder)
    require(accepted, f"class {spec['class_path'][:100]!r} is not an Encoder")
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
    require(isinstance(images, Tensor), f"{wanted}; got {type(images).__name__}, not a torch tensor")
    require(images.ndim == 4 and images.shape[1] in (1, 3), f"{wanted}; got shape {tuple(images.shape)}")
    floats = images.is_floating_point()
    require(floats or images.dtype == torch.uint8, f"{wanted}; got dtype {str(images.dtype).removeprefix('torch.')}")
    if floats and images.device.type == "cpu" and images.numel():
        low, high = (value.item() for value in images.detach().aminmax())
        inside = low >= -_TOLERANCE and high <= 1 + _TOLERANCE  # false for NaN
        require(inside, f"{wanted}; got floats from {low:.4g} to {high:.4g}")
