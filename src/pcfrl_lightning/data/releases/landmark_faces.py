"""What the data sets of annotated facial landmarks share: a square around the points, and the points in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, UnsuitableCropping
from pcfrl_lightning.data.cropping.geometry import in_crop
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ImageSource
from pcfrl_lightning.data.module import FaceData


class LandmarkFaces(FaceData):
    """Base of data sets with the label `landmarks` (n, L, 2), in [0, 1] of the crop.

    Args:
        root: folder of the release.
        cropping: square around the annotated landmarks, so scale and place of the face are given to the method, also
            in the test; state the margin with a result.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.

    Raises:
        UnsuitableCropping: another cropping than a `LandmarkCrop`.
    """

    def __init__(
        self, root: str | Path, cropping: LandmarkCrop | None = None, image_size: int = 128, **kwargs: Any
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        if not (cropping is None or isinstance(cropping, LandmarkCrop)):
            raise UnsuitableCropping(
                f"{self.name} is cut by LandmarkCrop always, since the landmarks are the labels; not by "
                f"{type(cropping).__name__}"
            )
        self.cropping = cropping or LandmarkCrop()

    def faces(
        self,
        split: str,
        source: ImageSource,
        points: np.ndarray,
        labels: dict[str, Tensor],
        class_names: Sequence[str] = (),
    ) -> FaceSet:
        """One split, cut to the faces.

        Args:
            split: its name.
            source: n whole images.
            points: (n, L, 2), pixels of the whole image.
            labels: further labels.
            class_names: of the label `conditions`.
        """
        landmarks = torch.from_numpy(in_crop(points, self.cropping.squares(points)))
        return FaceSet(
            self.cropping.apply(source, points),
            {"landmarks": landmarks, **labels},
            name=f"{self.name}/{split}",
            class_names={"conditions": class_names},
        )
