"""Curves of the pretraining: losses, DWA weights, calibrated pairs."""

from collections.abc import Mapping, Sequence

from pcfrl_lightning.figures.curves import Line, training_curve
from pcfrl_lightning.reports.content import Picture, Section
from pcfrl_lightning.reports.runs import Run

_PANELS: Mapping[str, tuple[str, str, Mapping[str, str], str]] = {
    "loss": ("Total loss", "loss", {"": "loss"}, "The total of Eq. 8, or of the method's own equation."),
    "reconstruction": ("Reconstruction (Eq. 1)", "mean L1", {"": "reconstruction"}, "Error of the reconstructions."),
    "face": ("Face contrast (Eq. 6)", "loss", {"": "face/loss"}, "Eq. 6 has only negatives below: it may be negative."),
    "pose": ("Pose contrast (Eq. 6)", "loss", {"": "pose/loss"}, "Eq. 6 of the pose branch."),
    "orthogonality": ("Orthogonality (Eq. 2)", "squared cosine", {"": "orthogonality"}, "0: orthogonal parts."),
    "dwa": (
        "DWA weights (Eq. 8)",
        "weight",
        {"pose": "alpha_pose", "face": "alpha_face"},
        "Weights of the two contrastive tasks; a task whose loss falls more slowly gets more.",
    ),
    "pairs": (
        "Calibrated pairs",
        "pairs per batch",
        {"pose": "pose/calibrated", "face": "face/calibrated"},
        "Anchors of a batch whose best candidate reached T.",
    ),
    "negatives": (
        "Negatives",
        "mean cosine",
        {"pose": "pose/negative_cosine", "face": "face/negative_cosine"},
        "Near 0: images stay apart. A rise towards 1 is a collapse.",
    ),
}
"""By name of the figure: title, label of the axis, values by branch, caption.

Pose comes first, so that the branches have the colours of `style.POSE` and `style.FACE`, those of all other figures.
"""


def training_section(runs: Sequence[Run]) -> Section:
    """A curve for each quantity that some run has logged, a line per run."""
    logged = [run for run in runs if run.history]
    pictures = [picture for name in _PANELS if (picture := _picture(name, logged)) is not None]
    missing = [
        f"{run.label}: no metrics.csv in {run.folder}; pcfrl fit writes it with --config pcfrl:logger/csv"
        for run in runs
        if run.checkpoint and not run.history
    ]
    text = ["Means over each epoch, from metrics.csv."] if pictures else []
    return Section("Training", text, pictures=pictures, missing=missing)


def _picture(name: str, runs: Sequence[Run]) -> Picture | None:
    title, axis, values, caption = _PANELS[name]
    lines: dict[str, Line] = {}
    for run in runs:
        for branch, key in values.items():
            if key in run.history:
                lines[" ".join(filter(None, ["" if len(runs) == 1 else run.label, branch]))] = run.history[key]
    if not lines or all(not any(ups) for _, ups in lines.values()):  # nothing was calibrated, or no such loss
        return None
    figure = training_curve(lines, title, axis)
    return Picture(f"training_{name}", figure, caption, f"{title} against epochs")
