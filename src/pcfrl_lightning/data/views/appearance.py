"""Changes of appearance that keep the geometry of a face: colour, blur, edges.

The parameters are drawn here, by the caller's generator; the pixel operations are those of albumentations and OpenCV.
An albumentations `Compose` that is seeded anew for every image takes 124 microseconds at 64 px, this class 56.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations looks for updates on import

from albumentations.augmentations.pixel import functional as pixel

from pcfrl_lightning.errors import require

_ORDERS = tuple(permutations(range(4)))
_LUMA = np.array([[65.738, 129.057, 25.064]], dtype=np.float32) / 256.0
_EPSILON = 1e-6


@dataclass(frozen=True)
class Appearance:
    """Colour jitter, grayscale, Gaussian blur and Sobel edges, each with its probability, in this order.

    The defaults are those of the public PCL code.

    Args:
        brightness: factor uniform in [1 - x, 1 + x], x in [0, 1].
        contrast: the same for contrast.
        saturation: the same for saturation; no effect on grey images.
        hue: turn of the hue uniform in [-x, x], x in [0, 0.5] of a full turn; no effect on grey images.
        jitter_p: probability of the four changes above, in [0, 1]; they are applied in random order.
        gray_p: probability of grayscale, in [0, 1].
        blur_p: probability of blur, in [0, 1].
        blur_sigma: range of the standard deviation in pixels, both above 0.
        blur_taps: odd width of the kernel in pixels; None: a tenth of the side of the view, made odd (the public code:
            7 at its 64 pixels).
        sobel_p: probability of edges, in [0, 1].
    """

    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    jitter_p: float = 0.8
    gray_p: float = 0.2
    blur_p: float = 0.8
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_taps: int | None = None
    sobel_p: float = 0.6

    DRAWS = 10  # random numbers used by one call, at most

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            limit = 0.5 if key == "hue" else 1
            if isinstance(value, float | int) and key != "blur_taps":
                require(0 <= value <= limit, f"appearance.{key} must be in [0, {limit}], got {value}")
        (low, high), taps = self.blur_sigma, self.blur_taps
        require(0 < low <= high, f"appearance.blur_sigma must be two rising positive numbers, got {self.blur_sigma}")
        odd = taps is None or (taps > 0 and taps % 2 == 1)
        require(odd, f"appearance.blur_taps must be odd and positive, got {taps}")

    def __call__(self, image: np.ndarray, uniform: Iterator[float]) -> np.ndarray:
        """Change an image (H, W, 3) RGB or (H, W) grey, uint8, by random numbers in [0, 1); returns (H, W, 3) uint8."""
        if next(uniform) < self.jitter_p:
            image = self._jitter(image, uniform)
        if next(uniform) < self.gray_p and image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if next(uniform) < self.blur_p:
            low, high = self.blur_sigma
            image = gaussian_blur(image, self.taps(image.shape[0]), low + (high - low) * next(uniform))
        if next(uniform) < self.sobel_p:
            image = sobel_uint8(image)
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image

    def taps(self, side: int) -> int:
        """Width of the blur's kernel in views of ``side`` pixels."""
        return self.blur_taps or side // 10 | 1

    def _jitter(self, image: np.ndarray, uniform: Iterator[float]) -> np.ndarray:
        brightness, contrast, saturation, hue = (2 * next(uniform) - 1 for _ in range(4))
        changes = (
            (pixel.adjust_brightness_torchvision, 1 + self.brightness * brightness),
            (pixel.adjust_contrast_torchvision, 1 + self.contrast * contrast),
            (pixel.adjust_saturation_torchvision, 1 + self.saturation * saturation),
            (pixel.adjust_hue_torchvision, self.hue * hue),
        )
        for number in _ORDERS[int(next(uniform) * len(_ORDERS))]:
            if image.ndim == 3 or number < 2:  # saturation and hue of a grey image stay as they are
                change, strength = changes[number]
                image = change(image, strength)
        return image


def gaussian_blur(image: np.ndarray, taps: int, sigma: float) -> np.ndarray:
    """Blur (H, W) or (H, W, C), uint8 or float32, reflecting at the border; ``taps`` (odd), ``sigma`` in pixels."""
    return cv2.GaussianBlur(image, (taps, taps), sigma, borderType=cv2.BORDER_REFLECT_101)


def sobel_magnitude(image: np.ndarray) -> np.ndarray:
    """Edge strength as in the public PCL code: sqrt(gx^2 + gy^2 + 1e-6) of the luma, (H, W) float32 in [0.001, 1.22].

    gx and gy are the central differences I(x+1) - I(x-1) with zeros outside of the image, which is (H, W, 3) RGB or
    (H, W) grey, float32 in [0, 1]; the luma weighs R, G, B with (65.738, 129.057, 25.064) / 256.
    """
    luma = image * _LUMA.sum() if image.ndim == 2 else cv2.transform(image, _LUMA)
    gx = cv2.Sobel(luma, cv2.CV_32F, 1, 0, ksize=1, borderType=cv2.BORDER_CONSTANT)
    gy = cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=1, borderType=cv2.BORDER_CONSTANT)
    return cv2.sqrt(gx * gx + gy * gy + _EPSILON)


def sobel_uint8(image: np.ndarray) -> np.ndarray:
    """`sobel_magnitude`, uint8 to uint8; 255 above 1 (the public code wraps round: a strong corner turns dark)."""
    return cv2.convertScaleAbs(sobel_magnitude(image.astype(np.float32) * np.float32(1 / 255)), alpha=255.0)
