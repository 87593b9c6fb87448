"""Pair alignment in one batch: Fig. 5, 7a, 7b, 8 and 9."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pcfrl_lightning.errors import DataError
from pcfrl_lightning.evaluate.calibrated_pairs import (
    POSE_LIMIT,
    Batch,
    Branch,
    calibrated_batches,
    tally,
)
from pcfrl_lightning.figures.alignment import alignment_map, pair_scores, row_maxima
from pcfrl_lightning.figures.faces import Partner, partner_sheet
from pcfrl_lightning.functional import Calibration, top_k_calibration
from pcfrl_lightning.heads import Calibrator, DelayedStart, NPAThreshold
from pcfrl_lightning.methods.simclr import SimCLR
from pcfrl_lightning.reports.content import Cell, Picture, Section, Table
from pcfrl_lightning.reports.demo import AGREE
from pcfrl_lightning.reports.material import FACES_DPI, Material, plain_images

SHOWN_IMAGES = 40
SHOWN_PAIRS = 6


class Scored(NamedTuple):
    """All pairs of the views of one branch.

    ``score`` is (2N, 2N); ``others`` (2N, 2N) bool: views of different images; ``best`` and ``nearest`` are the choices
    by score and by cosine; ``own``: the score is that of the run's calibrator.
    """

    score: Tensor
    others: Tensor
    best: Calibration
    nearest: Calibration
    threshold: float
    own: bool


def scored(branch: Branch, calibrator: Calibrator) -> Scored:
    """Score a branch by the PA of its calibrator, or by that of the paper where it does not use PA."""
    inner = calibrator.calibrator if isinstance(calibrator, DelayedStart) else calibrator
    own = hasattr(inner, "alpha")
    chooser = inner if own else NPAThreshold()
    z = branch.features
    if not bool(z.isfinite().all()):
        raise DataError("features are not finite; check the checkpoint")
    cosine, image = z @ z.T, torch.arange(len(z)) % (len(z) // 2)
    others = image.unsqueeze(0) != image.unsqueeze(1)
    score = chooser.score(z, z, cosine)
    best: Calibration = chooser(score, others)
    return Scored(score, others, best, top_k_calibration(cosine, others, 1), float(best.threshold), own)


def alignment_sections(found: Material) -> list[Section]:
    """Fig. 5 and 7 to 9, or what makes them."""
    method, faces = found.method, found.faces
    if method is None:
        line = (
            "Fig. 5, 7a, 7b, 8 and 9 are drawn of PCFRL, PCL and SimCLR, whose pairs are all in one batch: "
            "pcfrl fit --config pcfrl:pretrain --data.root FACES"
        )
        return [Section(f"Pair alignment: {found.run.label}", missing=[line])]
    if isinstance(method, SimCLR):
        contrasts = {"face": method.contrast}
    else:
        contrasts = {"face": method.face_contrast, "pose": method.pose_contrast}
    batch = next(calibrated_batches(method, faces.train, faces.views, faces.batch_size))
    branches = {name: scored(branch, contrasts[name].calibrator) for name, branch in batch.branches.items()}
    return [alignment_section(found, batch, branches), pairs_section(found, batch, branches)]


def alignment_section(found: Material, batch: Batch, branches: dict[str, Scored]) -> Section:
    """Fig. 5, 7 and 9."""
    name = found.run.label
    pictures = []
    for branch, one in branches.items():
        images = len(one.score) // 2
        views = torch.arange(2 * images).view(2, images)[:, :SHOWN_IMAGES].flatten()
        figure = alignment_map(one.score[views][:, views], one.threshold, f"PA, {branch} branch")
        caption = (
            f"Fig. 5, {name}: PA of {len(views)} views, the first views of {len(views) // 2} images before their "
            f"second views; the lines {len(views) // 2} beside the diagonal are the two views of one image."
        )
        alt = f"Heat map of pair alignment in the {branch} branch"
        pictures.append(Picture(f"{name}_fig5_{branch}", figure, caption, alt))
    maxima = {branch: one.best.score[:, 0] for branch, one in branches.items()}
    thresholds = {branch: one.threshold for branch, one in branches.items()}
    caption = f"Fig. 7b and 9, {name}: best PA of each anchor among views of other images; right of T it is calibrated."
    pictures.append(Picture(f"{name}_fig9", row_maxima(maxima, thresholds), caption, "Histogram of row maxima"))
    scores = {branch: one.score[one.others] for branch, one in branches.items()}
    caption = f"Fig. 7a, {name}: PA of all pairs of views of different images in the batch."
    pictures.append(Picture(f"{name}_fig7a", pair_scores(scores), caption, "Histogram of all scores"))
    text = [*filter(None, [found.unsettled]), _explained(found, batch, branches)]
    return Section(f"Pair alignment: {name}", text, pictures=pictures)


def pairs_section(found: Material, batch: Batch, branches: dict[str, Scored]) -> Section:
    """Fig. 8 with the true labels, and how often the choices are right."""
    name, faces, tables, pictures, same = found.run.label, found.faces.train, [], [], []
    rows: list[list[str | Cell]] = []
    images = plain_images(faces, batch.rows, found.encoder.image_size)
    for branch, one in branches.items():
        label, agrees = AGREE[branch]
        values = faces.labels[label][batch.rows] if label in faces.labels else None
        agree = None if values is None else agrees(values)
        if agree is not None:
            rows.append([f"{branch}: {_rule(branch)}", *_shares(one, agree)])
        sheet = _sheet(one, images, values, agree)
        if sheet is None:
            same.append(f"Fig. 8: in the {branch} branch cosine and PA choose the same image for every anchor.")
        else:
            caption = (
                f"Fig. 8, {branch} branch of {name}: anchors for which cosine and PA choose different images, those "
                "with the highest PA first."
            )
            frames = " Solid green frame: right; dashed red: wrong." if agree is not None else ""
            alt = f"Partners by cosine and by pair alignment in the {branch} branch"
            pictures.append(Picture(f"{name}_fig8_{branch}", sheet, caption + frames, alt, FACES_DPI))
    if rows:
        headings = ["a pair is right if", "calibrated", "best by PA", "best by cosine", "any pair"]
        size = f"Share of right pairs in one batch of {len(batch.rows)} images"
        tables = [_demo_table(found), Table(headings, rows, size)] if found.run.demo else [Table(headings, rows, size)]
    text = [
        "Calibration turns the best match of an anchor among other images from a negative into a positive if its PA "
        "reaches T. With true labels it can be checked how often that is right."
    ]
    if not rows:
        same.append(f"{found.faces.train.name} does not say who is shown and in what pose: --data SyntheticFaces does.")
    return Section(f"Calibrated pairs: {name}", text, tables=tables, pictures=pictures, missing=same)


def _explained(found: Material, batch: Batch, branches: dict[str, Scored]) -> str:
    accepted = {name: int(one.best.accepted.any(1).sum()) for name, one in branches.items()}
    counts = ", ".join(f"{count} of {2 * len(batch.rows)} {name} anchors" for name, count in accepted.items())
    if not all(one.own for one in branches.values()):
        rule = "This run does not calibrate by PA; PA and T = 1 are those of the paper, for comparison."
        return f"One batch of {len(batch.rows)} images ({found.faces.train.name}). {rule} {counts} would reach T."
    return (
        f"One batch of {len(batch.rows)} training images after training ({found.faces.train.name}). {counts} reach T."
    )


def _rule(branch: str) -> str:
    return f"yaw, pitch and roll within {POSE_LIMIT:g} degrees" if branch == "pose" else "the same person"


def _shares(one: Scored, agree: Tensor) -> list[str | Cell]:
    """Of the calibrated pairs, of the best by PA and by cosine, and of all."""
    chosen = (one.best, top_k_calibration(one.score, one.others, 1), one.nearest)
    counts = [tally(each, torch.arange(2 * len(agree)), agree) for each in chosen]
    shares = ["none" if one.precision is None else f"{100 * one.precision:.1f} % of {one.pairs}" for one in counts]
    return [*shares, f"{100 * (counts[0].base_rate or 0):.1f} %"]


def _sheet(one: Scored, pictures: Tensor, labels: Tensor | None, agree: Tensor | None) -> Figure | None:
    """Fig. 8 of a batch of ``pictures``, or None where both scores choose the same images.

    ``labels`` (N,) or (N, 3), people or poses, and whether they agree, (N, N); None where they are not known.
    """
    images = len(pictures)
    by_score, by_cosine = one.best.partner[:, 0] % images, one.nearest.partner[:, 0] % images
    order = one.best.score[:, 0].argsort(descending=True)
    anchors: dict[int, int] = {}
    for view in order.tolist():
        if by_score[view] != by_cosine[view]:
            anchors.setdefault(view % images, view)
    views = list(anchors.values())[:SHOWN_PAIRS]
    if not views:
        return None

    def partner(view: int, name: str, choice: Calibration) -> Partner:
        first, other = view % images, int(choice.partner[view, 0]) % images
        told, right = f"{name} {float(choice.score[view, 0]):.2f}", None
        if agree is not None and labels is not None:
            right = bool(agree[first, other])
            apart = float((labels[first] - labels[other]).abs().max())
            told += f", {apart:.0f}\N{DEGREE SIGN}" if labels.ndim > 1 else f", {'same' if right else 'other'} person"
        return Partner(pictures[other], told, right)

    found = {
        "by cosine": [partner(view, "cos", one.nearest) for view in views],
        "by PA": [partner(view, "PA", one.best) for view in views],
    }
    return partner_sheet([pictures[view % images] for view in views], found)


def _demo_table(found: Material) -> Table:
    """What the demo counted over all its training images."""
    counted = found.run.demo["calibration"]
    rows: list[list[str | Cell]] = []
    for branch in ("face", "pose"):
        precision, base = counted[f"{branch}_precision"], counted[f"{branch}_base_rate"]
        share = "none calibrated" if precision is None else f"{100 * precision:.1f} %"
        count = f"{counted[f'{branch}_right']} of {counted[f'{branch}_pairs']}"
        rows.append([f"{branch}: {_rule(branch)}", share, count, f"{100 * base:.1f} %"])
    headings = ["a pair is right if", "calibrated pairs", "right", "all pairs"]
    return Table(headings, rows, f"Share of right pairs over {counted['batches']} batches of training images")
