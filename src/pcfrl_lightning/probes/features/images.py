"""Images as the extractors want them: square, uint8, the same size throughout."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import CorruptImage
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.errors import DataError


class EvaluationImages(Dataset[Tensor]):
    """The images of a split, resized without any randomness.

    Args:
        faces: the split.
        image_size: evaluation size, pixels.
        enlarge: whether smaller images are enlarged; if not, the size is that of the first image, at most
            ``image_size``.
    """

    def __init__(self, faces: FaceSet, image_size: int, enlarge: bool) -> None:
        self.faces = faces
        self.size = image_size if enlarge else min(image_size, *self._read(0).shape[:2])

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Tensor:
        """Image ``index`` as (3, S, S) uint8.  Raises DataError naming an image that cannot be read."""
        square = fit_square(self._read(index), self.size)
        return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))

    def _read(self, index: int) -> np.ndarray:
        try:
            return self.faces.image(index)
        except CorruptImage as error:
            raise DataError(f"{self.faces.name}: image {index} cannot be read: {error}") from error
