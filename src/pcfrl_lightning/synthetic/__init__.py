"""Faces the project renders itself: a parametric 3D head with exact labels."""

from pcfrl_lightning.synthetic.expressions import ACTION_UNITS, EXPRESSIONS
from pcfrl_lightning.synthetic.parameters import (
    FaceParameters,
    HeadShape,
    Identity,
    Scene,
    pair_same_identity,
    pair_same_pose,
    sample_face,
    sample_identity,
)

__all__ = [
    "ACTION_UNITS",
    "EXPRESSIONS",
    "FaceParameters",
    "HeadShape",
    "Identity",
    "Scene",
    "pair_same_identity",
    "pair_same_pose",
    "sample_face",
    "sample_identity",
]
