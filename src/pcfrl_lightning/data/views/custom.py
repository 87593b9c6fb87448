"""A user's own albumentations transforms, as a yaml names them."""

import random
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import albumentations
import numpy as np
from albumentations import BaseCompose, BasicTransform

from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.errors import near


class OwnTransforms:
    """Albumentations transforms applied one after the other, as `albumentations.Compose` does.

    Their random state is set anew for every image from the caller's generator (8 microseconds), so the views depend on
    (seed, epoch, index) alone.

    ``given`` holds for each transform its name (`HorizontalFlip`, `my_package.MyTransform`), `class_path` and
    `init_args`, where lists of transforms may be nested (`OneOf`), or the object itself; ``key`` is the argument that
    named them.  A ValueError tells of no such transform, wrong arguments, or one that does not turn an RGB image uint8
    into another (`Normalize`, `ToTensorV2` and those that need boxes or masks do not).
    """

    def __init__(self, key: str, given: Sequence[Any]) -> None:
        self.key = f"views.{key}"
        self.transforms = [self._built(each) for each in given]
        for transform in self.transforms:
            name, image = type(transform).__name__, np.zeros((512, 512, 3), np.uint8)
            try:
                image = transform(image=image, force_apply=True)["image"]
            except Exception as error:
                raise self._wrong(f"{name}: {error}") from None
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
                raise self._wrong(f"{name} does not give uint8 images (H, W, 3); the network scales and normalises")

    def __call__(self, image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Transform an image (H, W, 3) uint8 RGB of any size and bring it to (size, size, 3) as `fit_square` does."""
        python = random.Random(int(rng.integers(2**63)))
        for transform in self.transforms:
            transform.set_random_state(rng, python)
            image = transform(image=image)["image"]
        return fit_square(image, size)

    def _built(self, given: Any) -> Any:
        if isinstance(given, BasicTransform | BaseCompose):
            return given
        spec: Any = {"class_path": given} if isinstance(given, str) else given
        if not isinstance(spec, Mapping) or "class_path" not in spec or set(spec) - {"class_path", "init_args"}:
            raise self._wrong(f"expected the name of a transform, or class_path and init_args, got {given!r}")
        path, arguments = str(spec["class_path"]), dict(spec.get("init_args") or {})
        package, _, name = path.rpartition(".")
        try:
            kind = getattr(import_module(package or "albumentations"), name, None)
        except ImportError as error:
            raise self._wrong(f"{path}: {error}") from None
        if not (isinstance(kind, type) and issubclass(kind, BasicTransform | BaseCompose)):
            classes = [each for each in vars(albumentations) if each[0].isupper()]
            raise self._wrong(f"{path} is no transform of albumentations{near(name, classes, 'albumentations.')}")
        if isinstance(arguments.get("transforms"), Sequence):
            arguments["transforms"] = [self._built(each) for each in arguments["transforms"]]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # how albumentations tells of unknown arguments
                return kind(**arguments)
        except (TypeError, ValueError, UserWarning) as error:
            # pydantic's report has lines "argument", "  reason [type=...]", "    For further information ..."
            reasons = re.findall(r"^(\S+)\n +(.+?) \[type=", str(error), re.MULTILINE)
            message = "; ".join(f"{argument}: {reason}" for argument, reason in reasons) or str(error)
            raise self._wrong(f"{path}: {message}") from None

    def _wrong(self, message: str) -> ValueError:
        return ValueError(f"{self.key}: {' '.join(message.split())}")
