"""What is in F_f and what is in F_p: measured, and shown by reconstructions and a swap of poses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pcfrl_lightning.callbacks.reconstruction_grid import reconstruction_columns
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.evaluate.calibrated_pairs import view_batch
from pcfrl_lightning.figures.faces import face_grid
from pcfrl_lightning.networks.network import PCFRLNetwork
from pcfrl_lightning.reports.content import Cell, Picture, Section, Table
from pcfrl_lightning.reports.material import FACES_DPI, Material
from pcfrl_lightning.reports.measured import estimate_of, feature_name
from pcfrl_lightning.reports.runs import Measured, Run

ROWS = 6
CLEAR = 0.10
"""An error of the pose that is lower by this share counts as lower."""
_TITLES = {
    "s": "$s$",
    "s_hat": r"$\hat s$",
    "D(F_f, F_p)": "$D(F_f, F_p)$",
    "D(F_f, F_p^)": r"$D(F_f, \hat F_p)$",
    "D(F_f^, F_p)": r"$D(\hat F_f, F_p)$",
    "D(F_f^, F_p^)": r"$D(\hat F_f, \hat F_p)$",
}
_COLUMNS = (  # of disentangle.json: key, heading, factor
    ("pose_nearest", "pose of the nearest, deg", 1),
    ("identity_same_pose", "same person, same pose, %", 100),
    ("identity_other_pose", "same person, other pose, %", 100),
    ("verification", "verification, AUC in %", 100),
    ("expression", "expression, %", 100),
)


def separation_section(runs: Sequence[Run], found: Sequence[Material], pictures: Sequence[Picture] = ()) -> Section:
    """The verdict, the figures behind it and the pictures, of the runs of one name; empty without F_f and F_p."""
    pose, people = (_by_feature(runs, metric) for metric in ("mae_mean", "tar_at_far_1e-3"))
    text, tables = _verdicts(pose, people), _own_table(pose, people)
    for run in runs:
        try:
            text += _disentangled_lines(run.disentangled)
            tables += _disentangled_tables(run.disentangled)
        except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError):
            path = run.folder / "disentangle.json"
            raise UsageError(f"{path} is not of `pcfrl disentangle`; remove it or run the command again") from None
    shown = [each for each in found if isinstance(each.encoder, PCFRLNetwork)]
    missing = []
    if shown and not text:
        folder = shown[0].run.folder
        missing.append(
            f"How much of pose and identity each part holds was not measured: pcfrl disentangle {folder}, or "
            f"pcfrl evaluate {folder} --data-root ROOT --tasks lfw aflw2000 --feature f_f f_p"
        )
    title = f"What is in F_f and what is in F_p: {runs[0].name}"
    return Section(title, text, tables=tables, pictures=pictures, missing=missing)


def verdict(face: float, pose: float) -> str:
    """What two errors of the head pose, from F_f and from F_p, say about the separation; both in degrees."""
    figures = (
        f"a linear head reads the head pose from F_f with an error of {face:.2f} degrees, from F_p with {pose:.2f}"
    )
    if pose < (1 - CLEAR) * face:
        return f"Pose is concentrated in F_p: {figures}."
    if face < (1 - CLEAR) * pose:
        return f"Separation did not happen, rather the reverse: {figures}. F_f holds more of the pose than F_p."
    return (
        f"Separation did not happen: {figures}, a difference of less than {100 * CLEAR:.0f} %. Pose is as much in F_f "
        "as in F_p."
    )


def identity_verdict(face: float, pose: float, pairs: int) -> str:
    """What two accuracies of verification, shares of ``pairs`` pairs, from F_f and from F_p, say."""
    error = math.sqrt((face * (1 - face) + pose * (1 - pose)) / max(1, pairs))
    figures = f"verification is right for {100 * face:.1f} % of the pairs from F_f and {100 * pose:.1f} % from F_p"
    if face - pose > 2 * error:
        return f"Identity is more in F_f: {figures} (chance 50 %)."
    if pose - face > 2 * error:
        return f"Identity is more in F_p, where it should not be: {figures} (chance 50 %)."
    return f"Identity is not separated: {figures} (chance 50 %), a difference within two standard errors."


def _by_feature(runs: Sequence[Run], metric: str) -> dict[str, list[Measured]]:
    """What was measured of the trained features, of the first task that has the metric."""
    trained = [one for run in runs for one in run.measured if one.weights == "pretrained"]
    known = [one for one in trained if one.value(metric) is not None]
    found: dict[str, list[Measured]] = {}
    for one in known:
        if one.task == known[0].task:
            found.setdefault(one.feature, []).append(one)
    return found if {"f_f", "f_p"} <= found.keys() else {}


def _verdicts(pose: Mapping[str, Sequence[Measured]], people: Mapping[str, Sequence[Measured]]) -> list[str]:
    found = []
    if pose:
        found.append(verdict(*(estimate_of(pose[name], "mae_mean").mean for name in ("f_f", "f_p"))))
    if people:
        pairs = int(people["f_f"][0].content.get("splits", {}).get("test", {}).get("samples", 0))
        face, other = (estimate_of(people[name], "accuracy").mean for name in ("f_f", "f_p"))
        found.append(identity_verdict(face, other, pairs))
    return found


def _own_table(pose: Mapping[str, Sequence[Measured]], people: Mapping[str, Sequence[Measured]]) -> list[Table]:
    """Head pose and verification by feature."""
    rows: list[list[str | Cell]] = []
    for found, name, metric, scale, unit in (
        (pose, "head pose, mean error", "mae_mean", 1, "deg"),
        (people, "verification, accuracy", "accuracy", 100, "%"),
    ):
        means = [estimate_of(found.get(feature, ()), metric).mean for feature in ("f_s", "f_f", "f_p")]
        if found:
            rows.append([name, *("" if math.isnan(mean) else f"{scale * mean:.2f} {unit}" for mean in means)])
    return [Table(["", *map(feature_name, ("f_s", "f_f", "f_p"))], rows, "What linear heads read")] if rows else []


def separation_pictures(found: Material) -> list[Picture]:
    """Eq. 1 and the pose swap on people that were not trained on, where there are such; none without a decoder."""
    encoder, faces = found.encoder, found.faces
    if not isinstance(encoder, PCFRLNetwork):
        return []
    rows = list(range(min(ROWS, len(faces.test))))  # neighbours show different people; evenly spaced ones need not
    batch = view_batch(faces.test, faces.views, rows, [0])
    with torch.inference_mode():
        columns = reconstruction_columns(encoder, batch["source"], batch["target"])
    name = found.run.label
    grid = {_TITLES.get(key, key): value for key, value in columns.items()}
    donor, swap = grid.pop("pose donor"), grid.pop("pose swap")
    return [
        Picture(
            f"{name}_pose_swap",
            face_grid({"face": columns["s"], "pose donor": donor, "pose swap": swap}),
            f"Pose swap between people, {name} ({faces.about}): the decoder gets F_f of the first image and "
            "F_p of the pose donor. If the parts are separated, the swap shows the first person in the pose of the "
            "donor. Training never asks for it.",
            "Faces, pose donors and pose swaps",
            FACES_DPI,
        ),
        Picture(
            f"{name}_reconstructions",
            face_grid(grid),
            f"Reconstructions of Eq. 1, {name}: s, its mirror image, and the four combinations of their "
            "features. The second and third take the pose from the other image.",
            "Reconstructions of faces",
            FACES_DPI,
        ),
    ]


def _disentangled_lines(content: Mapping[str, Any]) -> list[str]:
    """A sentence for each encoder and set that has F_f and F_p."""
    found = []
    for encoder in content.get("encoders", []):
        for name, verdict in encoder["verdict"].items():
            if verdict is None:
                continue
            right = "the parts are the right way round" if verdict["right_way_round"] else "separation did not happen"
            pose, people = f"{verdict['pose_gap']:+.2f} degrees", f"{100 * verdict['identity_gap']:+.1f} points"
            gaps = f"F_f minus F_p: pose error {pose}, people found again in another pose {people}"
            found.append(f"{encoder['name']} on {name}: {right} ({gaps}).")
    return found


def _disentangled_tables(content: Mapping[str, Any]) -> list[Table]:
    """A table for each encoder and set, the untrained network above it."""
    tables = []
    for encoder in content.get("encoders", []):
        for name, measures in encoder["measures"].items():
            shown = [column for column in _COLUMNS if any(one[column[0]] is not None for one in measures.values())]
            weights = {"untrained": encoder["untrained"][name], "trained": measures}
            rows = [
                [f"{which} {feature_name(feature)}", f"{one['pose']['mean']:.2f}", *_cells(one, shown)]
                for which, each in weights.items()
                for feature, one in each.items()
            ]
            headings = ["feature", "pose error, deg", *(heading for _, heading, _ in shown)]
            notes = ["Measured by pcfrl disentangle on people that its ridge regressions have not seen."]
            tables.append(Table(headings, rows, f"{encoder['name']} on {name}", notes))
    return tables


def _cells(one: Mapping[str, Any], shown: list[tuple[str, str, int]]) -> list[str | Cell]:
    return ["" if one[key] is None else f"{scale * one[key]:.1f}" for key, _, scale in shown]
