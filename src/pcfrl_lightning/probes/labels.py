"""Labels are checked before anything is computed; a complaint names data set, row and image."""

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError


def need(faces: FaceSet, key: str) -> Tensor:
    """The label ``key`` of a split.

    Raises:
        DataError: the split does not have it, or is empty.
    """
    if key not in faces.labels:
        found = ", ".join(sorted(faces.labels)) or "none"
        raise DataError(f"{faces.name}: needs the label '{key}', " + faces.unusable.get(key, f"has {found}"))
    return faces.labels[key]


def check(faces: FaceSet, key: str, good: Tensor, expected: str) -> None:
    """Refuse labels with a bad row.

    Args:
        faces: the split.
        key: the label.
        good: (n,) bool.
        expected: what a good value is.

    Raises:
        DataError: a row is bad; names the first and its image.
    """
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        value = faces.labels[key][row].tolist()
        raise DataError(
            f"{faces.name}: '{key}' of row {row} ({faces.source.name(row)}) is {value}, expected {expected} "
            f"({int((~good).sum())} bad rows)"
        )


def class_labels(faces: FaceSet, key: str, classes: int | None) -> Tensor:
    """Class numbers (n,) long in [0, classes), or from 0 on where the number of classes is not known."""
    labels = need(faces, key).long()
    known = labels < classes if classes else torch.ones_like(labels, dtype=torch.bool)
    check(faces, key, (labels >= 0) & known, f"0..{classes - 1}" if classes else "0 or more")
    return labels


def binary_labels(faces: FaceSet, key: str) -> Tensor:
    """(n, A) float32, 0 or 1."""
    labels = need(faces, key).float()
    check(faces, key, ((labels == 0) | (labels == 1)).all(1), "only 0 and 1")
    return labels


def finite_labels(faces: FaceSet, key: str, limit: float, expected: str) -> Tensor:
    """(n, ...) float32, finite and at most ``limit`` in absolute value."""
    labels = need(faces, key).float()
    fine = labels.isfinite() & (labels.abs() <= limit)
    check(faces, key, fine.flatten(1).all(1), expected)
    return labels
