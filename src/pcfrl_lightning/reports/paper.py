"""The paper's tables with the measured rows below the printed ones."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pcfrl_lightning.reports.content import Cell, Section, Table
from pcfrl_lightning.reports.measured import Rows, best_of, estimate_of, facts_of, rows_of, with_interval
from pcfrl_lightning.reports.runs import Run


@cache
def printed() -> dict[str, Any]:
    """The content of paper.yaml."""
    text = (Path(__file__).parent / "paper.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def paper_section(runs: Sequence[Run]) -> Section:
    """Tables 1-4; a table without a measured row keeps to one line that says what makes it."""
    rows, missing, tables = rows_of(runs), [], []
    used: set[str] = set()
    for table in printed()["tables"]:
        tasks = list(dict.fromkeys(column["task"] for column in table["columns"]))
        measured = {key: found for key, found in rows.items() if any(task in found for task in tasks)}
        if not measured:
            names = " ".join(tasks)
            missing.append(f"{table['title'].partition(':')[0]}: pcfrl evaluate CKPT --data-root ROOT --tasks {names}")
            continue
        used |= set(tasks)
        tables.append(_table(table, measured))
    if not tables:
        return Section("The paper's tables", ["None of their tasks was measured in these runs."], missing=missing)
    text = [
        f"{printed()['source']} Rows that begin with \u201chere\u201d were measured with this package: last epoch, "
        "learning rate chosen on images other than the test images. They are comparable with the printed ones only "
        "as far as pretraining data, images seen and protocol agree; those are listed below the tables."
    ]
    return Section("The paper's tables", text, tables=tables, facts=facts_of(runs, used), missing=missing)


def absent_lines(runs: Sequence[Run]) -> list[str]:
    """What else of the paper could be here, and the commands that make it."""
    lines = []
    if not any(run.checkpoint for run in runs):
        lines.append(
            "Fig. 5 and 7 to 10, reconstructions and the pose swap need weights: pcfrl fit --config pcfrl:pretrain "
            "--data.root FACES makes them; give the folder of that run (runs/pretrain/version_0), too."
        )
    titles = [run.study.about.title for run in runs if run.study]
    left = {
        part: " and ".join(names)
        for part, names in printed()["ablations"].items()
        if not any(title.startswith(part) for title in titles)
    }
    if left:
        names = "; ".join(f"{part}: {each}" for part, each in left.items())
        lines.append(f"pcfrl ablate NAME --data FACES, then pcfrl report runs/ablate/NAME, with these NAMEs: {names}.")
    return lines


def _table(table: Mapping[str, Any], measured: Rows) -> Table:
    columns = table["columns"]
    shown = [number for number, column in enumerate(columns) if _wanted(number, column, table, measured)]
    learned = [row for row in table["rows"] if "(supervised)" not in row[0]]  # the best of these is bold
    best = [
        best_of([row[1 + n] for row in learned if 1 + n < len(row)], bool(column.get("lower")))
        for n, column in enumerate(columns)
    ]
    rows: list[list[str | Cell]] = []
    for name, *values in table["rows"]:
        padded = [*values, *[None] * (len(columns) - len(values))]
        compared = [None if "(supervised)" in name else best[n] for n in range(len(columns))]
        rows.append([name, *(_printed(padded[n], columns[n], compared[n]) for n in shown)])
    for key, found in measured.items():
        cells = []
        for number in shown:
            column = columns[number]
            scale = 100 if column["metric"] in ("accuracy", "f1", "label_f1") else 1
            each = estimate_of(found.get(column["task"], ()), column["metric"], scale, column.get("index"))
            cells.append(Cell(with_interval(each)))
        rows.append([f"here: {key.title}", *cells])
    notes = [table["note"]] if "note" in table else []
    headings = [columns[number]["heading"] for number in shown]
    return Table(["method", *headings], rows, table["title"], notes)


def _wanted(number: int, column: Mapping[str, Any], table: Mapping[str, Any], measured: Rows) -> bool:
    """Columns that the paper has, and others that were measured."""
    return any(number < len(row) - 1 for row in table["rows"]) or any(
        column["task"] in row for row in measured.values()
    )


def _printed(value: float | None, column: Mapping[str, Any], best: float | None) -> Cell:
    if value is None:
        return Cell("-")
    digits = 1 if column["task"] == "disfa" else 2
    return Cell(f"{value:.{digits}f}", value == best)
