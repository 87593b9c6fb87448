"""The default views with the mirror image where it tells pose from identity."""

import cv2
import numpy as np

from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.errors import require


class MirroredViews(AlbumentationsViews):
    """Views of `AlbumentationsViews`; face views may be mirrored each for itself, and images have mirrored negatives.

    A mirror image shows the same person in another pose (yaw and roll change sign).  Face views that are mirrored
    independently of each other ask of F_f that it ignores this; `pose_negatives`, the mirror image of the pose views
    with K appearances, ask of F_p (`MirroredNegatives`, `JoinedNegatives`) that it does not.

    Args:
        image_size: side S of the views in pixels, at least 8; default: that of the data module.
        pose_negatives: K, views (K, 3, S, S) beside the six; 0 for none.
        face_flip_p: probability that a face view is mirrored, in [0, 1].
        pose_flip_p: probability that both pose views are mirrored, in [0, 1]; their negatives then are not.
        appearance, crop_scale, crop_ratio: see `AlbumentationsViews`; nothing is turned.
    """

    def __init__(
        self,
        image_size: int | None = None,
        pose_negatives: int = 2,
        face_flip_p: float = 0.0,
        pose_flip_p: float = 0.5,
        appearance: Appearance | None = None,
        crop_scale: tuple[float, float] = (0.4, 1.0),
        crop_ratio: tuple[float, float] = (0.75, 4 / 3),
    ) -> None:
        require(pose_negatives >= 0, f"views.pose_negatives must be at least 0, got {pose_negatives}")
        for key, value in (("face_flip_p", face_flip_p), ("pose_flip_p", pose_flip_p)):
            require(0 <= value <= 1, f"views.{key} must be in [0, 1], got {value}")
        super().__init__(image_size, appearance, crop_scale, crop_ratio, flip_p=0.0)
        self.pose_negatives, self.face_flip_p, self.pose_flip_p = pose_negatives, face_flip_p, pose_flip_p

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        views = super().sample(image, rng)
        first, second, shared = rng.random(3).tolist()
        # changes of appearance look the same in a mirror, so they may come first
        moved = {"face_1": first < self.face_flip_p, "face_2": second < self.face_flip_p}
        moved |= {"pose_1": shared < self.pose_flip_p, "pose_2": shared < self.pose_flip_p}
        views |= {name: cv2.flip(views[name], 1) for name, flipped in moved.items() if flipped}
        if self.pose_negatives:
            views["pose_negatives"] = self._negatives(image, not moved["pose_1"], self.pose_negatives, rng)
        return views
