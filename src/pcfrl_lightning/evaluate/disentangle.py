"""What each feature of an encoder holds: pose, identity and expression, linearly and among nearest neighbours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.evaluate.calibrated_pairs import pair_quality
from pcfrl_lightning.evaluate.nearest import neighbours, random_pairs, standardized
from pcfrl_lightning.evaluate.pose_sets import PoseFaces
from pcfrl_lightning.evaluate.summary import source_name
from pcfrl_lightning.functional.ridge import ridge_by_folds
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.networks import PCFRLNetwork
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.networks.encoder import Encoder, untrained_encoder
from pcfrl_lightning.networks.stored import locate
from pcfrl_lightning.probes.features.extract import EncoderFeatures
from pcfrl_lightning.probes.features.store import EvaluationImages
from pcfrl_lightning.probes.metrics import area_under_roc

STRENGTHS = (1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Penalties per training row, of which the following fold chooses."""

MOST_VALUES = 4096
"""Longer features are multiplied by a fixed random matrix of so many columns before a regression."""


def extract(encoder: Encoder, faces: FaceSet, image_size: int, device: str = "cpu") -> dict[str, Tensor]:
    """All features of all images, float32 (n, D) by name on the CPU, from one pass in float32 on every machine."""
    extractor = EncoderFeatures(encoder, device, "float32")
    parts = [extractor(images) for images in DataLoader(EvaluationImages(faces, image_size), batch_size=256)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in extractor.names}


def measure(features: Tensor, known: PoseFaces) -> dict[str, Any]:
    """Everything that is asked of one feature (n, D) on one set; primitives, None where the set cannot say.

    - ``pose``: mean absolute error in degrees of a ridge regression that has not seen the people, by angle and their
      ``mean``;
    - ``pose_nearest``, ``identity_same_pose`` (within 10 degrees), ``identity_other_pose`` (30 and more), each with
      ``_chance``: see `nearest.neighbours`;
    - ``verification``: area under the ROC curve of cosines of pairs, half of them of one person, of any pose;
    - ``expression``: share of expressions that a ridge regression finds, by people it has not seen, with ``_chance``:
      of the most frequent one.
    """
    first, second, same = random_pairs(known.person, known.occasion)
    unit = standardized(features)
    result: dict[str, Any] = {
        "pose": pose_error(features, known),
        **neighbours(features, known.pose, known.person, known.occasion),
        "verification": area_under_roc((unit[first] * unit[second]).sum(1), same),
        "expression": None,
        "expression_chance": None,
    }
    if known.expression is not None:
        classes = torch.nn.functional.one_hot(known.expression).double()
        predicted = ridge_by_folds(shortened(features), classes, known.fold, STRENGTHS).argmax(1)
        result["expression"] = float((predicted == known.expression).double().mean())
        result["expression_chance"] = float(classes.mean(0).max())
    return result


def pose_error(features: Tensor, known: PoseFaces) -> dict[str, float]:
    """Mean absolute error in degrees by angle, and the ``mean`` of them."""
    predicted = ridge_by_folds(shortened(features), known.pose.double(), known.fold, STRENGTHS)
    errors = (predicted - known.pose).abs().mean(0)
    return dict(zip(known.angles, errors.tolist(), strict=True)) | {"mean": float(errors.mean())}


def shortened(features: Tensor) -> Tensor:
    """The features, multiplied by a fixed Gaussian matrix where they are longer than `MOST_VALUES`."""
    length = features.shape[1]
    if length <= MOST_VALUES:
        return features
    generator = torch.Generator().manual_seed(0)
    return features @ (torch.randn(length, MOST_VALUES, generator=generator) / MOST_VALUES**0.5)


def measure_encoder(
    encoder: Encoder, sets: Sequence[PoseFaces], image_size: int, device: str = "cpu"
) -> dict[str, dict[str, Any]]:
    """``{set: {feature: measures}}`` of an encoder."""
    found = {}
    for known in sets:
        features = extract(encoder, known.faces, image_size, device)
        found[known.name] = {name: measure(values, known) for name, values in features.items()}
    return found


def verdict(measures: dict[str, dict[str, Any]]) -> dict[str, float | bool] | None:
    """Whether F_p is the pose feature and F_f the identity feature on one set; None for an encoder without them.

    ``pose_gap`` is the error of F_f minus that of F_p in degrees, ``identity_gap`` the share that F_f finds in another
    pose minus that of F_p: both are above 0 where the features are the right way round.
    """
    if not {"f_f", "f_p"} <= measures.keys():
        return None
    face, pose = measures["f_f"], measures["f_p"]
    pose_gap = face["pose"]["mean"] - pose["pose"]["mean"]
    identity_gap = (face["identity_other_pose"] or 0.0) - (pose["identity_other_pose"] or 0.0)
    return {
        "pose_gap": pose_gap,
        "pose_nearest_gap": face["pose_nearest"] - pose["pose_nearest"],
        "identity_gap": identity_gap,
        "right_way_round": pose_gap > 0 and identity_gap > 0,
    }


def measure_source(
    source: str, encoder: Encoder, sets: Sequence[PoseFaces], image_size: int, seed: int = 0, trust: Sequence[str] = ()
) -> dict[str, Any]:
    """A source beside the untrained network of its architecture, and the calibrated pairs of a PCFRL checkpoint.

    Returns the entry of disentangle.json: ``name``, ``epoch`` (of a checkpoint, else None), ``measures`` and
    ``untrained`` by set and feature (see `measure`), ``verdict`` by set, and ``pairs`` (see `pair_quality`; None where
    the source is no checkpoint of PCFRL, or no set is of rendered faces).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    measures = measure_encoder(encoder, sets, image_size, device)
    untrained = measure_encoder(untrained_encoder(source, seed, trust=trust), sets, image_size, device)
    file = locate(source) if Path(source).exists() else None
    run = file if file is not None and file.suffix == ".ckpt" else None
    known = next((each for each in sets if each.expression is not None), None)
    pairs = None
    if run is not None and known is not None and isinstance(encoder, PCFRLNetwork):
        pairs = pair_quality(PCFRL.load_from_checkpoint(run, trust=trust), known)
    return {
        "name": source_name(source),
        "epoch": None if run is None else read_checkpoint(run).get("epoch"),
        "measures": measures,
        "untrained": untrained,
        "verdict": {name: verdict(each) for name, each in measures.items()},
        "pairs": pairs,
    }
