"""Views of method, section 2, made in the workers of the loader on albumentations and OpenCV."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.base import VIEW_NAMES, Views
from pcfrl_lightning.data.views.custom import OwnTransforms
from pcfrl_lightning.errors import require

_GREY_STEP = 8


class AlbumentationsViews(Views):
    """The six views of an image.

    - `source`: the whole image; `target`: its mirror image, turned by a small angle if `rotation` > 0;
    - `face_1`, `face_2`: two random crops, each with an appearance of its own;
    - `pose_1`, `pose_2`: the whole image with one geometry, drawn per image and shared, each with an appearance of its
      own.  A flip changes the pose, so the two views of a positive pair must share it.

    Images that are not square lose the ends of their longer side, except in the random crops.

    Own transforms replace the recipe: with `face_transforms` a face view is made from the whole image by these alone
    (`crop_scale`, `crop_ratio` and `appearance` do not count), then resized on its shorter side and centre-cropped.
    `pose_transforms` take the place of `appearance` after the shared geometry; they are drawn for each view, so a flip
    or a turn among them gives two views of a positive pair different poses.

    Args:
        image_size: side S of the views in pixels, at least 8; default: that of the data module.
        appearance: colour, blur and edges of face and pose views; default: those of the public PCL code.
        crop_scale: range of the area of a random crop, as a share of the image in (0, 1].
        crop_ratio: range of width / height of a random crop.
        flip_p: probability that the pose views are mirrored, in [0, 1].
        rotation: largest turn of `target` and of the pose views in degrees, 0 to 45; 0 is none.
        face_transforms: own transforms of the face views, each an albumentations transform, its name, or
            `class_path` and `init_args` (`OwnTransforms`); default: the recipe above.
        pose_transforms: the same for the pose views.

    Raises:
        ValueError: an argument out of range, here and in subclasses, or a wrong transform; names it.
    """

    def __init__(
        self,
        image_size: int | None = None,
        appearance: Appearance | None = None,
        crop_scale: tuple[float, float] = (0.4, 1.0),
        crop_ratio: tuple[float, float] = (0.75, 4 / 3),
        flip_p: float = 0.5,
        rotation: float = 0.0,
        face_transforms: Sequence[Any] | None = None,
        pose_transforms: Sequence[Any] | None = None,
    ) -> None:
        for right, key, expected, value in (
            (image_size is None or image_size >= 8, "image_size", "at least 8", image_size),
            (0 < crop_scale[0] <= crop_scale[1] <= 1, "crop_scale", "two rising numbers in (0, 1]", crop_scale),
            (0 < crop_ratio[0] <= crop_ratio[1], "crop_ratio", "two rising positive numbers", crop_ratio),
            (0 <= flip_p <= 1, "flip_p", "in [0, 1]", flip_p),
            (0 <= rotation <= 45, "rotation", "in [0, 45] degrees", rotation),
        ):
            require(right, f"views.{key} must be {expected}, got {value}")
        self.image_size, self.appearance = image_size, appearance or Appearance()
        self.crop_scale, self.crop_ratio, self.flip_p, self.rotation = crop_scale, crop_ratio, flip_p, rotation
        self.face_transforms, self.pose_transforms = face_transforms, pose_transforms
        self._own_face = OwnTransforms("face_transforms", face_transforms) if face_transforms else None
        self._own_pose = OwnTransforms("pose_transforms", pose_transforms) if pose_transforms else None

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The six views, each (S, S, 3) uint8."""
        # an upper bound: target 1, crops 2 x 4, pose 2, four appearances
        uniform = iter(rng.random(11 + 4 * Appearance.DRAWS).tolist())
        grey = as_grey(image)
        whole = fit_square(grey, self.side)
        target = self._move(whole, True, self._angle(uniform))
        face = () if self._own_face else self._face_crops(grey, uniform)
        pose = [self._move(whole, *geometry) for geometry in self._pose_geometry(uniform)]
        views = [_as_rgb(whole), _as_rgb(target), *(self.appearance(view, uniform) for view in face)]
        if self._own_face:
            views += [self._own_face(image, self.side, rng) for _ in range(2)]
        for view in pose:
            own = self._own_pose
            views.append(own(_as_rgb(view), self.side, rng) if own else self.appearance(view, uniform))
        return dict(zip(VIEW_NAMES, views, strict=True))

    def _face_crops(self, image: np.ndarray, uniform: Iterator[float]) -> tuple[np.ndarray, np.ndarray]:
        return self._random_crop(image, uniform), self._random_crop(image, uniform)

    def _pose_geometry(self, uniform: Iterator[float]) -> Sequence[tuple[bool, float]]:
        """Of both pose views: whether it is mirrored, and the degrees by which it is then turned."""
        return [(next(uniform) < self.flip_p, self._angle(uniform))] * 2

    def _random_crop(self, image: np.ndarray, uniform: Iterator[float]) -> np.ndarray:
        """A crop of random area, shape and place (cut to the image where too long), resized to S."""
        height, width = image.shape[:2]
        low, high = self.crop_scale
        area = (low + (high - low) * next(uniform)) * height * width
        low, high = map(math.log, self.crop_ratio)
        ratio = math.exp(low + (high - low) * next(uniform))
        w = max(1, min(width, round(math.sqrt(area * ratio))))
        h = max(1, min(height, round(math.sqrt(area / ratio))))
        left = int(next(uniform) * (width - w + 1))
        top = int(next(uniform) * (height - h + 1))
        return self._resize(image[top : top + h, left : left + w])

    def _cropped_view(self, image: np.ndarray, uniform: Iterator[float]) -> np.ndarray:
        """A random crop, mirrored with probability ``flip_p``, of changed appearance; (S, S, 3)."""
        crop = self._random_crop(image, uniform)
        return self.appearance(cv2.flip(crop, 1) if next(uniform) < self.flip_p else crop, uniform)

    def _resize(self, crop: np.ndarray) -> np.ndarray:
        method = cv2.INTER_AREA if min(crop.shape[:2]) > self.side else cv2.INTER_LINEAR
        return cv2.resize(crop, (self.side, self.side), interpolation=method)

    def _angle(self, uniform: Iterator[float]) -> float:
        return self.rotation * (2 * next(uniform) - 1)

    def _move(self, image: np.ndarray, flip: bool, degrees: float) -> np.ndarray:
        """A square image, mirrored or not, then turned counter-clockwise."""
        if flip:
            image = cv2.flip(image, 1)
        if degrees:
            matrix = cv2.getRotationMatrix2D([(self.side - 1) / 2] * 2, degrees, 1.0)
            image = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
        return image

    def _negatives(self, image: np.ndarray, flip: bool, count: int, rng: np.random.Generator) -> np.ndarray:
        """The whole image, mirrored or not, in ``count`` appearances, (count, S, S, 3)."""
        whole = self._move(fit_square(as_grey(image), self.side), flip, 0.0)
        uniform = iter(rng.random(count * Appearance.DRAWS).tolist())
        return np.stack([self.appearance(whole, uniform) for _ in range(count)])


class LiteralPoseViews(AlbumentationsViews):
    """Section 4.1 of the paper read literally: one of the two pose views (`pose_2`) is always moved, the other never.

    The two views of a positive pair then show different poses; kept for comparison.  Without `rotation` the moved view
    is mirrored, whatever `flip_p`; with it, the view is turned by `rotation` / 2 to `rotation` degrees either way, and
    mirrored as well with probability `flip_p`.
    """

    def _pose_geometry(self, uniform: Iterator[float]) -> Sequence[tuple[bool, float]]:
        flip, angle = next(uniform) < self.flip_p, self._angle(uniform)
        turned = (angle + math.copysign(self.rotation, angle)) / 2
        return (False, 0.0), (flip or not self.rotation, turned)


def as_grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) to (H, W) where the three channels are equal: grey files are frequent, and a third of the work."""
    for part in (image[::_GREY_STEP, ::_GREY_STEP], image):  # a coarse sample is enough for nearly all colour images
        if not (np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 1], part[..., 2])):
            return image
    return np.ascontiguousarray(image[..., 0])


def _as_rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
