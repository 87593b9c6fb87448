"""The views of the public PCL code (CVPR 2023): distant crops and mirrored negatives."""

from collections.abc import Iterator, Sequence

import numpy as np

from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.errors import require


class PCLViews(AlbumentationsViews):
    """Face views from two different quadrants, pose views of the unmoved image, and its mirror image as negatives.

    Beside the six views: `pose_negatives` (K, 3, S, S), the mirror image with K appearances.

    Args:
        image_size: side S of the views in pixels, at least 8; default: that of the data module.
        pose_negatives: K, at least 1.  The public code uses 100, which takes most of the time of a step.
        crop_side: side of the square face crops as a share of the shorter side of the image, in (0, 0.5]; the two
            crops lie in different quadrants and share no pixel.
        appearance: colour, blur and edges; default: those of the public code.
        pose_images: so many images of a batch have mirrored views, at least 1; default: all. The public code takes 10.
    """

    def __init__(
        self,
        image_size: int | None = None,
        pose_negatives: int = 100,
        crop_side: float = 0.4,
        appearance: Appearance | None = None,
        pose_images: int | None = None,
    ) -> None:
        require(pose_images is None or pose_images >= 1, f"views.pose_images must be at least 1, got {pose_images}")
        require(pose_negatives >= 1, f"views.pose_negatives must be at least 1, got {pose_negatives}")
        require(0 < crop_side <= 0.5, f"views.crop_side must be in (0, 0.5], got {crop_side}")
        super().__init__(image_size, appearance, flip_p=0.0)
        self.pose_negatives, self.crop_side, self.pose_images = pose_negatives, crop_side, pose_images

    def sample_item(self, images: Sequence[np.ndarray], rng: np.random.Generator, place: int) -> dict[str, np.ndarray]:
        if self.pose_images is not None and place >= self.pose_images:
            return super().sample(images[0], rng)
        return self.sample(images[0], rng)

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        views = super().sample(image, rng)
        return {**views, "pose_negatives": self._negatives(image, True, self.pose_negatives, rng)}

    def _face_crops(self, image: np.ndarray, uniform: Iterator[float]) -> tuple[np.ndarray, np.ndarray]:
        first = int(next(uniform) * 4)
        second = (first + 1 + int(next(uniform) * 3)) % 4
        return self._quadrant_crop(image, first, uniform), self._quadrant_crop(image, second, uniform)

    def _quadrant_crop(self, image: np.ndarray, quadrant: int, uniform: Iterator[float]) -> np.ndarray:
        """A square crop inside quadrant 0..3 (row by row), resized to S."""
        height, width = (max(1, length // 2) for length in image.shape[:2])
        side = max(1, int(self.crop_side * min(image.shape[:2])))
        top = quadrant // 2 * (image.shape[0] - height) + int(next(uniform) * (height - side + 1))
        left = quadrant % 2 * (image.shape[1] - width) + int(next(uniform) * (width - side + 1))
        return self._resize(image[top : top + side, left : left + side])
