"""Faces the project renders itself: a parametric 3D head with exact labels."""

from typing import Any

from pcfrl_lightning.synthetic.expressions import ACTION_UNITS, EXPRESSIONS
from pcfrl_lightning.synthetic.parameters import FaceParameters, Identity, Scene, sample_face, sample_identity

__all__ = ["ACTION_UNITS", "EXPRESSIONS", "FaceParameters", "Identity", "Scene", "sample_face", "sample_identity"]
__all__ += ["SyntheticFaces"]


def __getattr__(name: str) -> Any:
    """The data module is imported on use: it needs torch, Lightning and OpenCV, which parameters do not."""
    if name != "SyntheticFaces":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pcfrl_lightning.synthetic.module import SyntheticFaces

    return SyntheticFaces
