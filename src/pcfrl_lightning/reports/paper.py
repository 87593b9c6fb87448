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
    names = [row[0] for row in table["rows"]]
    headings: list[str] = ["method"]
    columns: list[list[str | Cell]] = [[*names, *(f"here: {key.title}" for key in measured)]]
    for number, column in enumerate(table["columns"], 1):
        values = [row[number] if number < len(row) else None for row in table["rows"]]
        here = [found.get(column["task"], ()) for found in measured.values()]
        if any(value is not None for value in values) or any(here):
            learned = [None if "(supervised)" in name else value for name, value in zip(names, values, strict=True)]
            best = best_of(learned, bool(column.get("lower")))
            digits = 1 if column["task"] == "disfa" else 2
            scale = 100 if column["metric"] in ("accuracy", "f1", "label_f1") else 1
            cells = [
                Cell("-") if value is None else Cell(f"{value:.{digits}f}", own is not None and own == best)
                for value, own in zip(values, learned, strict=True)
            ]
            measures = [estimate_of(each, column["metric"], scale, column.get("index")) for each in here]
            headings.append(column["heading"])
            columns.append([*cells, *(Cell(with_interval(each)) for each in measures)])
    notes = [table["note"]] if "note" in table else []
    return Table(headings, list(zip(*columns, strict=True)), table["title"], notes)
