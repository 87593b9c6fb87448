"""An encoder as a graph that needs no code of this project: ONNX, TorchScript or torch.export."""

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import DataError, UsageError, one_line
from pcfrl_lightning.networks.encoder import Encoder

Pixels = Literal["float32", "uint8"]
"""In [0, 1], or 0 to 255."""
TOLERANCE = 1e-4
_AXES = {0: "batch", 2: "height", 3: "width"}
Run = Callable[[Tensor], Sequence[Tensor]]


class Features(nn.Module):
    """Pixels to the features of an encoder that have these ``names``, in their order: the normalisation is inside.

    Shapes: (B, 3, H, W) RGB, floats in [0, 1] or uint8 -> one float32 (B, D) per feature.
    """

    def __init__(self, encoder: Encoder, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.names = encoder, tuple(names)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        values = dict(zip(self.encoder.feature_names, self.encoder.encode(pixels), strict=True))
        return tuple(values[name].flatten(1) for name in self.names)


class Exported(NamedTuple):
    """What was written: the file, the pixels it takes, the largest difference from PyTorch, the batches (B, H, W) on
    which it was measured, and whether other sizes of images than the first are taken."""

    path: Path
    pixels: str
    difference: float
    batches: list[tuple[int, int, int]]
    any_size: bool


def export_graph(
    encoder: Encoder, names: Sequence[str], kind: str, folder: str | Path, size: int = 64, pixels: Pixels = "float32"
) -> Exported:
    """Write a graph of one of `GRAPHS`, load it again, and compare it with the encoder.

    The number of images is free, and their height and width where the encoder can be exported so (transformers cannot).

    Args:
        encoder: any; it is left as it is.
        names: of the features.
        kind: ``onnx``, ``torchscript`` or ``torch-export``.
        folder: where the file goes.
        size: side of the images of the example, in pixels.
        pixels: type of the input: ``float32`` in [0, 1], or ``uint8``.

    Raises:
        UsageError: a package is missing (extra ``export``).
        DataError: the encoder cannot be exported, or the graph does not compute the same; says why.
    """
    example, problem = _images(pixels, 2, size, size), ""
    module, (name, write) = _needed(Features(encoder, names), example), GRAPHS[kind]
    path = Path(folder) / name
    for any_size in (True, False):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of tracers, about what the comparison below tests
                run = write(module, example, path, any_size)
            shapes = [(1, size, size), (3, size, size)] + [(2, size + 32, size + 16)] * any_size
            return Exported(path, pixels, _difference(run, module, pixels, shapes), shapes, any_size)
        except (ImportError, UsageError):
            raise
        except Exception as error:  # of exporters: any kind
            problem = one_line(error)
    path.unlink(missing_ok=True)
    raise DataError(f"{type(encoder).__name__} cannot be exported as {kind}: {problem}")


@torch.no_grad()
def _needed(module: Features, example: Tensor) -> Features:
    """A copy for the CPU without the parts of the encoder that its features do not need, such as a decoder."""
    copy = deepcopy(module).requires_grad_(False).float().cpu().to(memory_format=torch.contiguous_format).eval()
    expected = copy(example)
    for name, part in list(copy.encoder.named_children()):
        setattr(copy.encoder, name, nn.Module())  # cannot be called, and has no weights; the order of parts stays
        try:
            needed = not all(map(torch.equal, copy(example), expected))
        except Exception:  # of any kind, where something is missing
            needed = True
        if needed:
            setattr(copy.encoder, name, part)
    return copy


def _write_program(module: nn.Module, example: Tensor, path: Path, any_size: bool) -> Run:
    axes: dict[int, Any] = dict.fromkeys(_AXES if any_size else (0,), torch.export.Dim.DYNAMIC)
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=(axes,)), path)
    run: Run = torch.export.load(path).module()
    return run


def _write_script(module: nn.Module, example: Tensor, path: Path, any_size: bool) -> Run:
    torch.jit.trace(module, (example,), check_trace=False).save(str(path))
    run: Run = torch.jit.load(str(path))
    return run


def _write_onnx(module: Features, example: Tensor, path: Path, any_size: bool) -> Run:
    try:
        runtime, _ = import_module("onnxruntime"), import_module("onnxscript")
    except ImportError:
        raise UsageError("ONNX needs onnx, onnxscript, onnxruntime: pip install pcfrl-lightning[export]") from None
    axes = {axis: name for axis, name in _AXES.items() if any_size or axis == 0}
    names: dict[str, Any] = {"input_names": ["images"], "output_names": list(module.names)}
    program = torch.onnx.export(module, (example,), **names, dynamic_shapes=(axes,), dynamo=True, verbose=False)
    assert program is not None
    program.save(path, external_data=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: [torch.from_numpy(value) for value in session.run(None, {"images": images.numpy()})]


GRAPHS: dict[str, tuple[str, Callable[[Features, Tensor, Path, bool], Run]]] = {
    "onnx": ("model.onnx", _write_onnx),
    "torchscript": ("model.torchscript.pt", _write_script),
    "torch-export": ("model.pt2", _write_program),
}
"""By kind: the name of the file, and what writes it and gives it back as a function."""


@torch.no_grad()
def _difference(run: Run, module: nn.Module, pixels: Pixels, shapes: Sequence[tuple[int, int, int]]) -> float:
    """Largest difference between graph and module; ValueError above `TOLERANCE`, relative to values above 1."""
    largest = 0.0
    for images in (_images(pixels, *shape) for shape in shapes):
        for ours, theirs in zip(module(images), run(images), strict=True):
            off = ((ours - theirs).abs() / ours.abs().clamp(min=1)).max().item()
            if not off <= TOLERANCE:
                raise ValueError(f"the graph is off by {off:.2g} for images of shape {tuple(images.shape)}")
            largest = max(largest, off)
    return largest


def _images(pixels: Pixels, batch: int, height: int, width: int) -> Tensor:
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(batch + height + width))
    return (images * 255).byte() if pixels == "uint8" else images
