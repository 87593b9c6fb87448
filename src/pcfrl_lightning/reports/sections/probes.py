"""Probes in detail: confusion matrices, ROC and the error of the head pose by yaw."""

from collections.abc import Sequence

import numpy as np

from pcfrl_lightning.figures.probe_plots import confusion_matrix, error_by_yaw, roc
from pcfrl_lightning.probes.tasks.numbers import YAW_STEPS
from pcfrl_lightning.probes.tasks.pairs import ROC_FAR
from pcfrl_lightning.reports.content import Picture, Section
from pcfrl_lightning.reports.measured import Rows, rows_of, tasks_of
from pcfrl_lightning.reports.runs import Measured, Run

_MOST = 6  # lines in a plot, confusion matrices of a task


def probes_section(runs: Sequence[Run]) -> Section:
    """A figure for each task that has one; the first seed of each row."""
    rows = rows_of(runs)
    tasks = tasks_of(rows.values())
    pictures = [picture for task in tasks for picture in _pictures(task, rows)]
    missing = []
    if not rows and any(run.pretraining for run in runs):
        folder = next(run.folder for run in runs if run.pretraining)
        missing.append(f"No probe was run on these weights: pcfrl evaluate {folder} --data-root ROOT --with-random")
    elif rows and not pictures:
        missing.append("These results are of an older version without curves: run pcfrl evaluate again")
    return Section("Probes in detail", pictures=pictures, missing=missing)


def _pictures(task: str, rows: Rows) -> list[Picture]:
    """Those of one task."""
    found = {key.title: each[task][0] for key, each in rows.items() if task in each}
    data = next(iter(found.values())).content.get("dataset")
    pictures = [each for name, one in list(found.items())[:_MOST] if (each := _confusion(task, name, one))]
    rates = {name: one.curve("roc_tar", len(ROC_FAR)) for name, one in found.items()}
    curves = {name: (ROC_FAR, each) for name, each in rates.items() if each}
    if curves:
        figure = roc(dict(list(curves.items())[:_MOST]), f"ROC, {data}")
        caption = f"{task}: true accept rate at each false accept rate, all folds pooled."
        pictures.append(Picture(f"roc_{task}", figure, caption, f"ROC of {task}"))
    errors = {name: one.curve("mae_by_yaw", len(YAW_STEPS) - 1) for name, one in found.items()}
    lines = {name: each for name, each in errors.items() if each}
    if lines:
        figure = error_by_yaw(dict(list(lines.items())[:_MOST]), YAW_STEPS, f"Head pose error, {data}")
        caption = f"{task}: mean error of yaw, pitch and roll in bands of 15 degrees of the true yaw."
        pictures.append(Picture(f"yaw_{task}", figure, caption, f"Head pose error by yaw, {task}"))
    return pictures


def _confusion(task: str, name: str, one: Measured) -> Picture | None:
    """None where there is no matrix."""
    matrix, names = one.metrics.get("confusion", 0), one.content.get("class_names")
    if np.ndim(matrix) != 2 or len(matrix) != len(matrix[0]):
        return None
    known = names if isinstance(names, list) and len(names) == len(matrix) else range(len(matrix))
    shown = [str(name) for name in known]
    figure = confusion_matrix(matrix, shown, f"{task}: {name}")
    caption = f"{task}, {name}: shares of the test images of each true class."
    return Picture(f"confusion_{task}_{name}", figure, caption, f"Confusion matrix of {task}, {name}")
