"""The whole report of some runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.reports.content import Page, Section
from pcfrl_lightning.reports.material import Material, material
from pcfrl_lightning.reports.paper import paper_section
from pcfrl_lightning.reports.render import write_page
from pcfrl_lightning.reports.runs import Run, read_runs
from pcfrl_lightning.reports.sections.alignment import alignment_section, first_batch, pairs_section
from pcfrl_lightning.reports.sections.features import features_section
from pcfrl_lightning.reports.sections.learned import learned_line, learned_section
from pcfrl_lightning.reports.sections.overview import overview_section
from pcfrl_lightning.reports.sections.probes import probes_section
from pcfrl_lightning.reports.sections.separation import separation_section
from pcfrl_lightning.reports.sections.study import study_section
from pcfrl_lightning.reports.sections.training import training_section


def silent(_: str) -> None:
    """Announce nothing."""


def write_report(
    given: Sequence[str], out: Path, data: FaceData | None = None, announce: Callable[[str], None] = silent
) -> Path:
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
    return write_page(page_of(runs, data, announce), out)


def page_of(runs: Sequence[Run], data: FaceData | None = None, announce: Callable[[str], None] = silent) -> Page:
    """The content of the report."""
    announce("figures and tables of the results")
    shown, hidden = [], []
    for run in runs:
        if run.checkpoint is None:
            continue
        announce(f"{run.name}: pictures from {run.checkpoint}")
        found = material(run, data)
        hidden += found.notes
        shown += _of_weights(found)
    separations = [] if any(run.checkpoint for run in runs) else [separation_section(run, None) for run in runs]
    sections = [
        learned_section(runs),
        *_shown_first(runs, shown),
        *(section for section in separations if section is not None),
        paper_section(runs) if _measures(runs) else Section("The paper's tables"),
        *(study_section(run) for run in runs if run.study),
        overview_section(runs),
        training_section(runs),
        *[section for section in shown if section not in _shown_first(runs, shown)],
        probes_section(runs),
        Section("Notes", missing=hidden),
    ]
    return Page(_title(runs), _lead(runs), sections)


def _of_weights(found: Material) -> list[Section]:
    """Sections that need the weights of a run."""
    sections = [separation_section(found.run, found)]
    batch = first_batch(found)
    if batch is not None:
        sections += [alignment_section(found, batch), pairs_section(found, batch)]
    try:
        sections.append(features_section(found))
    except DataError as error:  # an unreadable image among those shown
        sections.append(Section(f"Feature space: {found.run.name}", missing=[str(error)]))
    return [section for section in sections if section is not None]


def _shown_first(runs: Sequence[Run], sections: Sequence[Section]) -> list[Section]:
    """What a reader looks for first: for a single run, the pictures of the separation."""
    single = len(runs) == 1
    return [section for section in sections if single and section.title.startswith("What is in F_f")]


def _measures(runs: Sequence[Run]) -> bool:
    """Whether the paper's tables have a place: not for the demo, whose tasks are its own."""
    return any(run.measured or run.pretraining for run in runs if not run.demo)


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1 and runs[0].demo:
        return "PCFRL on synthetic faces"
    if len(runs) == 1 and runs[0].study:
        return str(runs[0].study.about.get("title") or runs[0].name)
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
