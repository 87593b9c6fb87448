"""Two pictures of one person, the views of FaceCycle."""

from collections.abc import Sequence

import numpy as np

from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.cpu import AlbumentationsViews, as_grey
from pcfrl_lightning.errors import require


class FramePairs(AlbumentationsViews):
    """`frame_1` and `frame_2`: two pictures of an item, each cropped a little, mirrored or not, with a changed colour.

    An item has several pictures where it is a video or a clip (`VoxCeleb`) or a person (`SyntheticFaces` with
    `whole_person`). Elsewhere its picture serves twice, so that the two frames differ by crop, mirror and colour alone.
    Sometimes the second frame is the mirror image of the first one: the same person with another pose.

    Args:
        image_size: side S of the views in pixels, at least 8; default: that of the data module.
        mirror_p: probability that the second frame is the mirror image of the first, in [0, 1].
        crop_scale: range of the area of the crops, as a share of the picture in (0, 1].
        appearance: colour; default: weak jitter as in the public code of FaceCycle, no blur, no edges.
    """

    pictures = 2

    def __init__(
        self,
        image_size: int | None = None,
        mirror_p: float = 0.5,
        crop_scale: tuple[float, float] = (0.9, 1.0),
        appearance: Appearance | None = None,
    ) -> None:
        require(0 <= mirror_p <= 1, f"views.mirror_p must be in [0, 1], got {mirror_p}")
        weak = Appearance(0.05, 0.05, 0.05, 0.01, gray_p=0.0, blur_p=0.0, sobel_p=0.0)
        super().__init__(image_size, appearance or weak, crop_scale, crop_ratio=(0.95, 1.05))
        self.mirror_p = mirror_p

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.sample_item([image, image], rng, 0)

    def sample_item(self, images: Sequence[np.ndarray], rng: np.random.Generator, place: int) -> dict[str, np.ndarray]:
        uniform = iter(rng.random(1 + 2 * (5 + Appearance.DRAWS)).tolist())
        mirrored = next(uniform) < self.mirror_p
        first = self._cropped_view(as_grey(images[0]), uniform)
        if mirrored:
            return {"frame_1": first, "frame_2": np.ascontiguousarray(first[:, ::-1])}
        second = self._cropped_view(as_grey(images[1]), uniform)
        return {"frame_1": first, "frame_2": second}
