"""``pcfrl ablate``: every variant of a table, with several seeds, as one table with paired differences."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pcfrl_lightning.cli.arguments import OneLineArguments, positive
from pcfrl_lightning.cli.configs import FOLDER
from pcfrl_lightning.cli.trials import (
    check_arguments,
    file_of,
    overrides_of,
    parser_of,
    print_table,
    run_all,
    settings_of,
)
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.sweeps.ablation import Ablation, read_ablation
from pcfrl_lightning.sweeps.metrics import Metric, asked
from pcfrl_lightning.sweeps.results import RESULTS, Description, ablation_table, markdown, values_of, write_results
from pcfrl_lightning.sweeps.runner import Settings
from pcfrl_lightning.sweeps.trial import Outcome, Trial, recorded


def command_parser() -> OneLineArguments:
    """Options of `pcfrl ablate`."""
    about = "Train every variant of an ablation with several seeds, one run after another or several at once."
    parser = parser_of("pcfrl ablate", about, "ablate", FOLDER / "ablation")
    base = "configs in place of those of the file"
    parser.add_argument("--base", nargs="+", default=[], metavar="CONFIG", help=base)
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="seeds 0 to N - 1 (default: 3)")
    only = "these variants alone; others are compared with the first of the file that is run"
    parser.add_argument("--only", nargs="+", default=[], metavar="VARIANT", help=only)
    metrics = "in place of the file's: NAME or NAME=minimize of the log, or tasks of `pcfrl evaluate`"
    parser.add_argument("--metric", nargs="+", default=[], metavar="NAME", help=metrics)
    parser.add_argument("--dry-run", action="store_true", help="print the commands that are left, for a scheduler")
    return parser


def read(name: str) -> tuple[Path, Ablation]:
    """The file of a name or path, and what it says."""
    path = file_of(name, FOLDER / "ablation")
    return path, read_ablation(path)


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl ablate`; returns the exit status."""
    parser = command_parser()
    options, rest = parser.parse_known_args(arguments)
    try:
        path, ablation = read(options.file)
        ablation = ablation.only(options.only)
        metrics_run = asked(options.metric) or list(ablation.metrics)
        settings = settings_of(options, metrics_run)
        out = Path(options.out or Path("runs/ablate") / path.stem)
        trials = ablation.trials(options.seeds, out / "runs", options.base, overrides_of(options, rest))
        names = [metric.name for metric in metrics_run]
        known = [recorded(trial, names) for trial in trials]
        for trial in trials[: len(ablation.variants)]:
            check_arguments(trial.arguments, trial.name, metrics_run)
    except UsageError as error:
        parser.error(str(error))
    if options.dry_run:
        for trial, outcome in zip(trials, known, strict=True):
            if outcome is None:
                print(shlex.join(["pcfrl", *trial.command()]))
        return 0
    return _run(trials, ablation, settings, out)


def _run(trials: list[Trial], ablation: Ablation, settings: Settings, out: Path) -> int:
    waiting = iter(trials)
    description = Description(
        ablation.title, tuple(settings.metrics), tuple(ablation.variants), ablation.axis, ablation.paper
    )

    def ended(outcomes: list[Outcome]) -> None:
        write_results(out / RESULTS, outcomes, settings.metrics)
        description.write(out / "ablation.json")

    outcomes = run_all(lambda: next(waiting, None), settings, out, len(trials), ended)
    report(outcomes, ablation, settings.metrics, out)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def report(outcomes: list[Outcome], ablation: Ablation, metrics: Sequence[Metric], out: Path) -> None:
    """Print and write the table of each metric, and the plot of the first one."""
    from pcfrl_lightning.figures.ablation import ablation_figure
    from pcfrl_lightning.figures.style import save

    tables = []
    for metric in metrics:
        rows = ablation_table(list(ablation.variants), values_of(outcomes, metric), metric, ablation.paper)
        print_table(rows, ablation.title)
        tables.append(markdown(rows))
    (out / "table.md").write_text("\n".join([f"# {ablation.title}\n", *tables]), encoding="utf-8")
    first = metrics[0]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in failed:
        print(f"failed: {outcome.trial.title}: {outcome.error} (see {outcome.trial.folder})")
    values = values_of(outcomes, first)
    if values:
        figure = ablation_figure(values, list(ablation.variants), first.label, ablation.axis, ablation.title)
        save(figure, out / "plot.png")
    print(f"results: {out / RESULTS}, {out / 'table.md'}{f', {out}/plot.png' if values else ''}")
