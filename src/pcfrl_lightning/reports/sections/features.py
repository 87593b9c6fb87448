"""What the features look like: t-SNE of F_s, F_f, F_p and F_f + F_p (Fig. 10)."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.nn.functional import normalize

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.figures.feature_map import class_maps, value_maps
from pcfrl_lightning.networks.encoder import evaluating
from pcfrl_lightning.reports.content import Picture, Section
from pcfrl_lightning.reports.material import Material, plain_images

MOST = 400
_COMPONENTS, _CLASSES = 30, 8
_TITLES = {"f_s": "$F_s$", "f_f": "$F_f$", "f_p": "$F_p$", "sum": "$F_f + F_p$"}


def features_section(found: Material) -> Section:
    """Fig. 10: maps coloured by expression, identity and yaw, as far as these labels are known."""
    faces, run = found.labelled.test, found.run
    rows = torch.linspace(0, len(faces) - 1, min(MOST, len(faces))).long()  # evenly spaced
    known = vectors(found, rows)
    apart = {name: bool(np.isfinite(each).all() and np.ptp(each, axis=0).any()) for name, each in known.items()}
    maps = {_TITLES.get(name, name): positions(each) for name, each in known.items() if apart[name]}
    missing = [f"{name} is not finite, or the same for all images." for name, there in apart.items() if not there]
    pictures = [
        Picture(f"{run.label}_fig10_{key}", figure, f"Fig. 10, {run.label}: {told}", f"t-SNE coloured by {key}")
        for key, (figure, told) in (_coloured(maps, faces, rows) if maps else {}).items()
    ]
    text = [
        f"t-SNE (perplexity 30, seed 0) of {len(rows)} images of {found.labelled.about}, from the first "
        f"{_COMPONENTS} principal components of unit features. Only who is near whom has a meaning, not the axes. "
        "If the two parts are separated, colours of the yaw form bands in F_p and are mixed in F_f, and people form "
        "groups in F_f."
    ]
    return Section(f"Feature space: {run.label}", text, pictures=pictures, missing=missing)


@torch.inference_mode()
def vectors(found: Material, rows: torch.Tensor) -> dict[str, np.ndarray]:
    """Unit features (n, D) by name, and their sum ``sum`` where there are F_f and F_p."""
    faces, size, parts = found.labelled.test, found.encoder.image_size, []
    with evaluating(found.encoder):
        for block in rows.split(64):
            parts.append(found.encoder.features(plain_images(faces, block, size)))
    joined = {name: normalize(torch.cat([part[name] for part in parts])) for name in parts[0]}
    if {"f_f", "f_p"} <= joined.keys():
        joined["sum"] = joined["f_f"] + joined["f_p"]
    return {name: value.numpy() for name, value in joined.items()}


def positions(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, D) to (n, 2) by t-SNE of the first principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(_COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features.astype(np.float64))
    perplexity = min(30.0, (len(features) - 1) / 3)
    found: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return found


def _coloured(maps: Mapping[str, np.ndarray], faces: FaceSet, rows: torch.Tensor) -> dict[str, tuple[Figure, str]]:
    """A figure and what it shows for each label that the faces have."""
    found: dict[str, tuple[Figure, str]] = {}
    labels = {name: value[rows] for name, value in faces.labels.items()}
    if "expression" in labels:
        names = faces.class_names.get("expression") or [str(n) for n in range(int(labels["expression"].max()) + 1)]
        figure = class_maps(maps, labels["expression"].numpy(), names[:_CLASSES], "Coloured by expression")
        found["expression"] = figure, "expression."
    if "identity" in labels:
        people, order = labels["identity"].unique(return_inverse=True)
        shown = min(_CLASSES, len(people))
        names = [f"person {n + 1}" for n in range(shown)]
        figure = class_maps(maps, order.numpy(), names, "Coloured by person", "others")
        found["identity"] = figure, f"{shown} of {len(people)} people."
    if "pose" in labels:
        yaw = labels["pose"][:, 0].numpy()
        found["yaw"] = value_maps(maps, yaw, "Coloured by yaw", "true yaw in degrees"), "yaw of the head."
    return found
