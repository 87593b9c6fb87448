"""The whole report of some runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pcfrl_lightning.data.images.decode import CorruptImage
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.evaluate.run import Announce, silent
from pcfrl_lightning.reports.content import Page, Picture, Section
from pcfrl_lightning.reports.material import material
from pcfrl_lightning.reports.measured import count_once
from pcfrl_lightning.reports.paper import absent_lines, paper_section
from pcfrl_lightning.reports.render import write_page
from pcfrl_lightning.reports.runs import Run, read_runs
from pcfrl_lightning.reports.sections.alignment import alignment_sections
from pcfrl_lightning.reports.sections.features import features_section
from pcfrl_lightning.reports.sections.learned import learned_line, learned_section
from pcfrl_lightning.reports.sections.overview import overview_section
from pcfrl_lightning.reports.sections.probes import probes_section
from pcfrl_lightning.reports.sections.separation import separation_pictures, separation_section
from pcfrl_lightning.reports.sections.study import study_section
from pcfrl_lightning.reports.sections.training import training_section


def write_report(given: Sequence[str], out: Path, data: FaceData | None = None, announce: Announce = silent) -> Path:
    """Read runs, draw everything that can be drawn from them and write the report; returns report.html.

    Args:
        given: folders, or ``NAME=FOLDER``; folders of one name are seeds of one setting.
        out: folder of the report.
        data: faces of the figures; default: those of each run's config, else `SyntheticFaces`.
        announce: told what begins.

    Raises:
        UsageError: a folder that holds nothing to report on.
        DataError: a checkpoint that cannot be read.
    """
    runs = read_runs(given)
    out.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before weights are read
    return write_page(page_of(runs, data, announce), out)


def page_of(runs: Sequence[Run], data: FaceData | None = None, announce: Announce = silent) -> Page:
    """The content of the report."""
    announce("figures and tables of the results")
    parts: list[Section] = []  # F_f and F_p
    shown: list[Section] = []
    notes = count_once(runs)
    for name in dict.fromkeys(run.name for run in runs if not run.study):
        mine, found = [run for run in runs if run.name == name], []
        pictures: list[Picture] = []
        for run in mine:
            if run.checkpoint is not None:
                announce(f"{run.label}: pictures from {run.checkpoint}, a minute or two")
                found.append(material(run, data))
                notes += found[-1].notes
                with _noted(notes, run):
                    pictures += separation_pictures(found[-1])
                with _noted(notes, run):
                    shown += alignment_sections(found[-1])
                with _noted(notes, run):
                    shown.append(features_section(found[-1]))
        parts.append(separation_section(mine, found, pictures))
    alone = len(runs) == 1  # what a reader looks for first is then this run
    sections = [
        learned_section(runs),
        *(parts if alone else ()),
        # not for the demo, whose tasks are its own
        *([paper_section(runs)] if any(run.measured or run.pretraining for run in runs if not run.demo) else ()),
        *(study_section(run) for run in runs if run.study),
        overview_section(runs),
        training_section(runs),
        *(() if alone else parts),
        *shown,
        probes_section(runs),
        Section("Not in this report", missing=[*notes, *absent_lines(runs)]),
    ]
    return Page(_title(runs), _lead(runs), sections)


@contextmanager
def _noted(notes: list[str], run: Run) -> Iterator[None]:
    """What needs an image that cannot be read, or features that are not finite, ends with a note."""
    try:
        yield
    except (DataError, CorruptImage) as error:
        told = ": ".join(map(str, error.args))
        notes.append(f"{run.label}: figures of its images are left out: {told}")


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1 and runs[0].demo:
        return "PCFRL on synthetic faces"
    if len(runs) == 1 and runs[0].study:
        return runs[0].study.about.title
    return "Report: " + ", ".join(dict.fromkeys(run.name for run in runs))


def _lead(runs: Sequence[Run]) -> str:
    outcome = learned_line(runs)
    outcome = f" Outcome against the untrained network: {outcome}." if outcome else ""
    if len(runs) == 1 and runs[0].demo:
        return (
            "A small PCFRL was pretrained for a few minutes on rendered faces, without labels; linear heads on its "
            f"frozen features were then tested on people that it never saw.{outcome}"
        )
    names = "PCFRL learns faces from images without labels: F_s is the feature of the backbone, F_f its face part, F_p "
    return f"{names}its pose part; PA scores how well two views match, T is the threshold of calibration.{outcome}"
