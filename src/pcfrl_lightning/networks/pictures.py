"""Pictures as users have them, paths, arrays and tensors of any size, made into what an encoder takes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | Path | np.ndarray | Tensor | Image"
"""One picture: a file; an array (H, W, 3) or (H, W); a tensor (3, H, W) or (1, H, W); an image of Pillow. Numbers are
uint8, or floats in [0, 1]; three channels are RGB."""
Pictures: TypeAlias = "Picture | Iterable[Picture]"
"""One picture, several of them, or an array or tensor with a first axis of pictures."""


def square_batches(pictures: Pictures, size: int, batch_size: int) -> Iterator[Tensor]:
    """Centre squares of pictures in one size, float32 (B, 3, size, size) in [0, 1], B at most ``batch_size``.

    Raises:
        ValueError: something that is no picture, or no picture at all; says which.
        DataError: a file that cannot be read; names it.
    """
    batch: list[Tensor] = []
    number = -1
    for number, picture in enumerate(_each(pictures)):
        batch.append(_square(picture, size, number))
        if len(batch) == batch_size:
            yield torch.stack(batch)
            batch = []
    if number < 0:
        raise ValueError("there are no pictures in what was given")
    if batch:
        yield torch.stack(batch)


def squares(pictures: Pictures, size: int) -> Tensor:
    """All of `square_batches` in one tensor."""
    return torch.cat(list(square_batches(pictures, size, 64)))


def _each(pictures: Any) -> Iterable[Any]:
    single = isinstance(pictures, (np.ndarray, Tensor)) and pictures.ndim < 4
    return [pictures] if single or not isinstance(pictures, Iterable) or isinstance(pictures, str) else pictures


def _square(picture: Any, size: int, number: int) -> Tensor:
    from pcfrl_lightning.data.images.sources import CorruptImage, read_image
    from pcfrl_lightning.data.loaders import fit_square

    if isinstance(picture, (str, Path)):
        try:
            array = read_image(Path(), str(picture))
        except CorruptImage as error:
            raise DataError(str(error)) from None
    elif isinstance(picture, Tensor):
        array = picture.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    else:
        array = np.asarray(picture.convert("RGB") if hasattr(picture, "convert") else picture)
    shape = tuple(getattr(picture, "shape", array.shape))
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise ValueError(
            f"picture {number} has shape {shape}; arrays are (H, W, 3) or (H, W), tensors (3, H, W) or (1, H, W)"
        )
    if array.dtype != np.uint8 and not (np.issubdtype(array.dtype, np.floating) and _in_range(array)):
        raise ValueError(f"picture {number} is not uint8 and not float in [0, 1] ({array.dtype})")
    whole = array.dtype == np.uint8
    square = fit_square(np.ascontiguousarray(array if whole else array.astype(np.float32)), size)
    pixels = torch.tensor(square.reshape(size, size, -1)).permute(2, 0, 1).expand(3, -1, -1)
    return pixels.float() / 255 if whole else pixels.clamp(0, 1)


def _in_range(array: np.ndarray) -> bool:
    return bool(array.min() >= -1e-3 and array.max() <= 1 + 1e-3)  # false for NaN; resizing leaves [0, 1] a little
