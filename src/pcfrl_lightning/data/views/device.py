"""The views of `AlbumentationsViews`, made on the training device, a whole batch at once."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.compilation import Checked
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.base import VIEW_NAMES, stacked
from pcfrl_lightning.data.views.batched import draws
from pcfrl_lightning.data.views.batched.appearance import change
from pcfrl_lightning.data.views.batched.geometry import Boxes, centre_square, crop, mirror, turn
from pcfrl_lightning.data.views.cpu import AlbumentationsViews

_LARGEST = 4  # shorter side of what goes to the device, in sides of a view
_COMMON = 2  # the same where the images of a batch differ in size


class DeviceViews(AlbumentationsViews):
    """The views of `AlbumentationsViews` with the same distributions; the workers of the loader only read images.

    Every image has parameters of its own, drawn by the generator of the batch: the same after a resume.  Pixels are
    those of OpenCV and albumentations up to their rounding to whole levels after every operation.

    Where all images of a batch have one size, crops are taken from these (shrunk first to four times S on their shorter
    side, if that is longer).  Images of different sizes are resized on their shorter side to twice S and centre-cropped
    by the workers, and crops taken from that.

    Args:
        image_size: side S of the views in pixels, at least 8; default: that of the data module.
        appearance: see `AlbumentationsViews`, which alone takes own transforms.
        crop_scale: see there.
        crop_ratio: see there.
        flip_p: see there.
        rotation: see there.
        compiled: whether `torch.compile` makes one program of it; default: on a GPU.
    """

    stored = True

    def __init__(
        self,
        image_size: int | None = None,
        appearance: Appearance | None = None,
        crop_scale: tuple[float, float] = (0.4, 1.0),
        crop_ratio: tuple[float, float] = (0.75, 4 / 3),
        flip_p: float = 0.5,
        rotation: float = 0.0,
        compiled: bool | None = None,
    ) -> None:
        super().__init__(image_size, appearance, crop_scale, crop_ratio, flip_p, rotation)
        self.compiled = compiled

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The image itself, `image` (h, w, 3) uint8; all randomness is in `batch`."""
        shorter, most = min(image.shape[:2]), _LARGEST * self.side
        if shorter > most:
            height, width = (round(length * most / shorter) for length in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return {"image": image}

    def collate(self, samples: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """`image` uint8 (N, 3, H, W): of the size of all images, or (N, 3, 2 S, 2 S)."""
        if len({sample["image"].shape for sample in samples}) > 1:
            samples = [{"image": fit_square(sample["image"], _COMMON * self.side)} for sample in samples]
        return stacked(samples)

    def batch(self, batch: dict[str, Tensor], keys: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The six views, float (N, 3, S, S) in channels-last memory, of `image` uint8 (N, 3 or 1, H, W)."""
        images = batch["image"]
        uniform = torch.rand(len(images), draws.NUMBERS, generator=generator, device=images.device)
        with torch.autocast(images.device.type, enabled=False), torch.no_grad():
            if images.is_cuda if self.compiled is None else self.compiled:
                return _program()(images, uniform, self)
            return views_of(images, uniform, self)


def views_of(images: Tensor, uniform: Tensor, recipe: AlbumentationsViews) -> dict[str, Tensor]:
    """The views of images uint8 (N, 3 or 1, H, W) by random numbers ``uniform`` (N, NUMBERS) in [0, 1).

    Of ``recipe`` only the settings count.
    """
    count, _, height, width = images.shape
    rows = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    rows = rows.expand(-1, -1, 3, -1)
    boxes = draws.boxes_of(uniform, height, width, recipe.crop_scale, recipe.crop_ratio)
    whole = centre_square(count, height, width, images.device)
    boxes = Boxes(*(torch.cat(pair, 1) for pair in zip(boxes, whole, strict=True)))
    # levels are whole numbers, which the short mantissa of a GPU's matrix product holds exactly
    first, second, source = (crop(rows, boxes, recipe.side) / 255).unbind(1)
    mirrored, *turns = draws.moves_of(uniform, recipe.flip_p, recipe.rotation)
    target, pose = source.flip(3), mirror(source, mirrored)
    if recipe.rotation:
        target, pose = map(turn, (target, pose), turns)
    changes = draws.changes_of(uniform, recipe.appearance)
    taps = recipe.appearance.taps(recipe.side)
    changed = change(torch.stack([first, second, pose, pose], 1).flatten(0, 1), changes, taps)
    views = (source, target, *changed.unflatten(0, (count, draws.CHANGED)).unbind(1))
    planes = (view.transpose(1, 2).contiguous(memory_format=torch.channels_last) for view in views)
    return dict(zip(VIEW_NAMES, planes, strict=True))


@cache
def _program() -> Checked:
    return Checked(views_of, torch.compile(views_of, fullgraph=True), "DeviceViews", "--data.views.compiled false")
