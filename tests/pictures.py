"""Pictures of noise and of slowly changing colours."""

import cv2
import numpy as np


def noise(count: int, height: int = 24, width: int = 24) -> np.ndarray:
    """(count, height, width, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def smooth(count: int, height: int, width: int) -> np.ndarray:
    """(count, height, width, 3) uint8: colours that change slowly, as in a photograph."""
    small = np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in small])
