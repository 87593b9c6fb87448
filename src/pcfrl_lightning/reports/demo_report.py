"""The sections of ``runs/demo/report.html``."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pcfrl_lightning.callbacks.reconstruction_grid import reconstruction_columns
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.evaluate.table import better, format_value
from pcfrl_lightning.figures import pictures
from pcfrl_lightning.figures.grid import labelled_grid
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.reports.calibrated_pairs import POSE_LIMIT, Branch, best_pairs, view_batch
from pcfrl_lightning.reports.demo import TASKS, Calibration, still
from pcfrl_lightning.reports.page import Cell, Picture, Section, page, table

TITLE = "PCFRL on synthetic faces"
LEAD = (
    "A small PCFRL was pretrained for a few minutes on rendered faces, without labels. Frozen features are then judged "
    "with linear heads (verification: cosine, no training) beside those of the same network before training. Renderer, "
    "training and probes are all part of the package; this page needs no network."
)
SHOWN_PAIRS = 12
FACES_SHOWN = 24
SWAPS = 6
LOSSES = {
    "reconstruction": "reconstruction",
    "face contrast (Eq. 6)": "face/loss",
    "pose contrast (Eq. 6)": "pose/loss",
    "orthogonality": "orthogonality",
}


def demo_page(
    results: Mapping[str, Any],
    module: PCFRL,
    test_faces: FaceSet,
    train_faces: FaceSet,
    views: Any,
    calibration: Calibration,
    history: Mapping[str, Sequence[float]],
) -> str:
    """The report: ``results`` is the content of results.json, ``views`` are those of pretraining, ``calibration`` was
    measured on ``train_faces``, ``history`` holds epoch means of the training log."""
    sections = [
        results_section(results),
        _faces_section(train_faces),
        _reconstruction_section(module, test_faces, views),
        _training_section(history),
        _alignment_section(module, calibration),
        pairs_section(results["calibration"], calibration, train_faces),
    ]
    return page(TITLE, LEAD, sections, _facts(results))


def results_section(results: Mapping[str, Any]) -> Section:
    """The four tasks, and F_f and F_p where they were measured."""
    features = {name.replace("f_", "F_"): values for name, values in results.get("features", {}).items()}
    rows: list[list[str | Cell]] = []
    for key, task in TASKS.items():
        pair = [results["random_init"][key], results["pretrained"][key]]
        marks = better(task, pair)
        cells = [Cell(format_value(task, value), mark) for value, mark in zip(pair, marks, strict=True)]
        others = [format_value(task, values[key]) if key in values else "" for values in features.values()]
        arrow = "↓ lower is better" if task.lower_is_better else "↑ higher is better"
        rows.append([task.name, f"{key} {arrow}", *cells, *others])
    headings = ["task", "metric", "random init, F_s", "pretrained, F_s", *(f"pretrained, {name}" for name in features)]
    text = [
        "One protocol for both columns: the same images, heads, learning rates (chosen on validation people) and "
        "seed; figures are those of the last epoch, on people that occur nowhere else. Bold is the better one of the "
        "two F_s columns."
    ]
    return Section("Results", text, table(headings, rows))


def _faces_section(faces: FaceSet) -> Section:
    shown = torch.linspace(0, len(faces) - 1, min(FACES_SHOWN, len(faces))).long().tolist()
    sheet = pictures.contact_sheet(_images(faces, shown), columns=12)
    caption = "Training images: identity, expression, action units, pose, light and background drawn independently."
    return Section("The faces", pictures=[Picture(pictures.png(sheet), caption, "contact sheet of rendered faces")])


def _reconstruction_section(module: PCFRL, faces: FaceSet, views: Any) -> Section:
    """Eq. 1 and the pose swap, on people that were not trained on."""
    rows = list(range(min(SWAPS, len(faces))))  # neighbours show different people; evenly spaced ones need not
    batch = view_batch(faces, still(views), rows, [0])
    grid = labelled_grid(reconstruction_columns(module.network, batch["source"], batch["target"]), pixels=120)
    caption = (
        "Test people. s and its mirror image s_hat; the four reconstructions of Eq. 1, of which the second and third "
        "take the pose from the other image; and the pose swap D(F_f(a), F_p(b)): the face of the row with the pose of "
        "the donor, which training never asked for."
    )
    picture = Picture(pictures.png(grid), caption, "grid of reconstructions")
    return Section("What is in F_f and what is in F_p", pictures=[picture])


def _training_section(history: Mapping[str, Sequence[float]]) -> Section:
    caption = (
        "Epoch means. The losses of Eq. 6 have only negatives in the denominator and may fall below zero; the weights "
        "of the two contrastive tasks follow their rate of descent (DWA)."
    )
    curves = pictures.training_curves(history, LOSSES)
    return Section("Training", pictures=[Picture(curves, caption, "loss curves and calibrated pairs")])


def _alignment_section(module: PCFRL, calibration: Calibration) -> Section:
    batch = calibration.batch
    face, pose = _alignment(batch.face, module.face_contrast), _alignment(batch.pose, module.pose_contrast)
    caption = (
        "One batch of training images after training. Left: PA of pairs of views, the first views of 40 images, then "
        "their second views, so that the bright lines off the diagonal are the two views of one image. Right: the best "
        "score of each anchor among the views of other images; pairs right of T are calibrated."
    )
    picture = Picture(pictures.alignment_maps(face, pose), caption, "heat maps of pair alignment and row maxima")
    return Section("Pair alignment", pictures=[picture])


def pairs_section(found: Mapping[str, Any], calibration: Calibration, faces: FaceSet) -> Section:
    """Precision beside the base rate, and the first pairs of each branch."""
    rows: list[list[str | Cell]] = []
    for name, rule in (("pose", f"pose within {POSE_LIMIT:g} degrees on each axis"), ("face", "the same person")):
        shares = [found[f"{name}_precision"], found[f"{name}_base_rate"]]
        count = f"{found[f'{name}_right']} of {found[f'{name}_pairs']}"
        worse = min(share or 0 for share in shares)
        rows.append([f"{name} branch", rule, *(Cell(_share(share), (share or 0) > worse) for share in shares), count])
    headings = ["", "a pair is right if", "calibrated pairs", "all pairs", "right"]
    text = [
        "Calibration turns the best match of an anchor among other images from a negative into a positive when its "
        "score reaches T. With true labels at hand it can be checked how often that is right. Below: pairs with the "
        "highest scores in one batch, as plain images; the network saw crops and changed colours of them. A green "
        "frame marks a right pair."
    ]
    batch = calibration.batch
    labels = [faces.labels[name][batch.rows] for name in ("pose", "identity")]
    shown = _images(faces, batch.rows.tolist())
    sheets = (_pairs_picture(getattr(batch, name), name, shown, *labels) for name in ("pose", "face"))
    return Section("Calibrated pairs", text, table(headings, rows), [sheet for sheet in sheets if sheet is not None])


def _pairs_picture(branch: Branch, name: str, faces: Tensor, pose: Tensor, identity: Tensor) -> Picture | None:
    """The calibrated pairs with the highest scores, each pair of images once; None without any."""
    images: list[tuple[Tensor, Tensor]] = []
    captions, right = [], []
    for first, second, score in best_pairs(branch, len(pose), SHOWN_PAIRS):
        one, two = first % len(pose), second % len(pose)
        apart, same = float((pose[one] - pose[two]).abs().max()), bool(identity[one] == identity[two])
        images.append((faces[one], faces[two]))
        captions.append(f"PA {score:.2f}   {f'{apart:.0f} deg' if name == 'pose' else 'same' if same else 'other'}")
        right.append(apart <= POSE_LIMIT if name == "pose" else same)
    if not images:
        return None
    what = "largest difference of yaw, pitch and roll" if name == "pose" else "same or other person"
    sheet = pictures.png(pictures.pair_sheet(images, captions, right))
    return Picture(sheet, f"{name.capitalize()} branch: score and {what}.", f"calibrated pairs of the {name} branch")


def _alignment(branch: Branch, contrast: Any) -> pictures.Alignment:
    z, calibration = branch.features, branch.output.calibration
    matrix = contrast.calibrator.score(z, z, z @ z.T)
    return pictures.Alignment(matrix, calibration.score[:, 0], float(calibration.threshold))


def _images(faces: FaceSet, rows: Sequence[int]) -> Tensor:
    stacked = torch.stack([torch.from_numpy(faces.image(row).copy()) for row in rows])
    return stacked.permute(0, 3, 1, 2).float() / 255


def _share(value: float | None) -> str:
    return "none calibrated" if value is None else f"{100 * value:.1f} %"


def _facts(results: Mapping[str, Any]) -> dict[str, str]:
    hardware = results["hardware"]
    gpu = f", {hardware['gpu']}" if hardware["gpu"] else ""
    return {
        "command": results["command"],
        "seed": str(results["seed"]),
        "machine": f"{hardware['cpu']}, {hardware['cores']} cores{gpu}",
        "versions": ", ".join(f"{name} {value}" for name, value in results["versions"].items()),
        "time": ", ".join(f"{name} {value:.0f} s" for name, value in results["seconds"].items()),
    }
