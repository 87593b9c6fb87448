"""Two views of an image of anything, as SimCLR takes them."""

import numpy as np

from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.cpu import AlbumentationsViews, as_grey


class TwoViews(AlbumentationsViews):
    """`face_1` and `face_2` alone: random crop, mirror, colour, grey and blur (Chen et al. 2020, appendix A).

    For methods that contrast two views, on images that need be no faces; the other four views of a batch, of which such
    methods use none, are not made. The defaults are those of the public code whose figures are those of Table 9
    (docs/table9.md): crops of 0.08 to 1 of the area, strong colour, and blur of every view.

    Args:
        image_size: side S of the views in pixels, at least 8; default: that of the data module.
        crop_scale: range of the area of a crop, as a share of the image in (0, 1].
        flip_p: probability that a view is mirrored, in [0, 1].
        appearance: colour, blur and edges.
    """

    def __init__(
        self,
        image_size: int | None = None,
        crop_scale: tuple[float, float] = (0.08, 1.0),
        flip_p: float = 0.5,
        appearance: Appearance | None = None,
    ) -> None:
        super().__init__(image_size, appearance or Appearance(blur_p=1.0, sobel_p=0.0), crop_scale, flip_p=flip_p)

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Both views, each (S, S, 3) uint8."""
        uniform = iter(rng.random(2 * (5 + Appearance.DRAWS)).tolist())
        grey = as_grey(image)
        return {name: self._cropped_view(grey, uniform) for name in ("face_1", "face_2")}
