"""``pcfrl ablate``: every variant of a table, with several seeds, as one table with paired differences."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pcfrl_lightning.cli import trials
from pcfrl_lightning.cli.arguments import OneLineArguments, positive
from pcfrl_lightning.cli.configs import FOLDER
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.sweeps.ablation import Ablation, read_ablation
from pcfrl_lightning.sweeps.metrics import asked
from pcfrl_lightning.sweeps.results import ablation_table, values_of
from pcfrl_lightning.sweeps.trial import Outcome, recorded, trained


def command_parser() -> OneLineArguments:
    """Options of `pcfrl ablate`."""
    about = "Train every variant of an ablation with several seeds, one run after another or several at once."
    parser = trials.parser_of("pcfrl ablate", about, "ablate", FOLDER / "ablation")
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
    path = trials.file_of(name, FOLDER / "ablation")
    return path, read_ablation(path)


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl ablate`; returns the exit status."""
    parser = command_parser()
    options, rest = parser.parse_known_args(arguments)
    try:
        path, ablation = read(options.file)
        metrics = tuple(asked(options.metric)) or ablation.metrics
        ablation = replace(ablation.only(options.only), metrics=metrics)
        settings = trials.settings_of(options, metrics)
        out = Path(options.out or Path("runs/ablate") / path.stem)
        runs = ablation.trials(options.seeds, out / "runs", options.base, trials.overrides_of(options, rest))
        known = [recorded(trial, [metric.name for metric in metrics]) for trial in runs]
        for trial in runs[: len(ablation.variants)]:
            trials.check_arguments(trial.arguments, trial.name, metrics)
    except UsageError as error:
        parser.error(str(error))
    if options.dry_run:
        for trial, outcome in zip(runs, known, strict=True):
            if outcome is None and not trained(trial):
                print(shlex.join(["pcfrl", *trial.command()]))
        return 0
    waiting = iter(runs)
    outcomes = trials.run_all(lambda: next(waiting, None), settings, out, len(runs), ablation, "ablation.json")
    return report(outcomes, ablation, out)


def report(outcomes: list[Outcome], about: Ablation, out: Path) -> int:
    """Print and write the table of each metric, and the plot of the first one; returns the exit status."""
    from pcfrl_lightning.figures.ablation import ablation_figure

    values = [values_of(outcomes, metric) for metric in about.metrics]
    pairs = zip(values, about.metrics, strict=True)
    tables = [ablation_table(about.variants, found, metric, about.paper) for found, metric in pairs]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    lines = [f"failed: {each.trial.title}: {each.error} (see {each.trial.folder})" for each in failed]
    label = about.metrics[0].label
    figure = ablation_figure(values[0], about.variants, label, about.axis, about.title) if values[0] else None
    trials.report(tables, about.title, out, figure, lines)
    return 1 if failed else 0
