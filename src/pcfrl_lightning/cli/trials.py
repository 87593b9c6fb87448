"""What `pcfrl ablate` and `pcfrl sweep` share on the command line."""

import argparse
import inspect
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING

import yaml
from rich.table import Table

from pcfrl_lightning.cli.arguments import OneLineArguments, above_0, positive
from pcfrl_lightning.errors import Stopped, UsageError, near
from pcfrl_lightning.evaluate.tasks import tasks_named
from pcfrl_lightning.files import alone
from pcfrl_lightning.printing import plain_console
from pcfrl_lightning.sweeps.metrics import Metric
from pcfrl_lightning.sweeps.results import RESULTS, Description, markdown, write_results
from pcfrl_lightning.sweeps.runner import Settings, Watch, run_trials
from pcfrl_lightning.sweeps.trial import Outcome, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REST = "all further options are those of `pcfrl fit`, for every run: --trainer.max_epochs 20"


def parser_of(program: str, about: str, kind: str, folder: Path) -> OneLineArguments:
    """A parser with the options of both commands; ``folder`` has the files that ship with the package."""
    names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    parser = OneLineArguments(program, description=about, epilog=REST, allow_abbrev=False)
    parser.add_argument("file", metavar="FILE", help=f"yaml, or one of the package: {names}")
    data = "folder or archive of the faces (--data.root), or a class such as SyntheticFaces"
    parser.add_argument("--data", metavar="FACES", help=data)
    config = "layer it over the configs of the file; repeat for more"
    parser.add_argument("--config", action="append", default=[], metavar="CONFIG", help=config)
    parser.add_argument("--out", metavar="FOLDER", help=f"folder of the runs and results (default: runs/{kind}/FILE)")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="runs at once (default: 1)")
    budget = "after so many minutes no run begins, and what runs is saved for the next time"
    parser.add_argument("--budget-minutes", type=above_0, metavar="M", help=budget)
    root = "folder of the data sets, for metrics that are final probes"
    parser.add_argument("--data-root", metavar="ROOT", help=root)
    parser.add_argument("--probe-epochs", type=positive, metavar="N", help="of final probes (default: the protocol's)")
    return parser


def file_of(name: str, folder: Path) -> Path:
    """A file by its path, or by its name in a folder of the package; a UsageError names the nearest one."""
    if Path(name).is_file():
        return Path(name)
    known = {path.stem: path for path in folder.glob("*.yaml")}
    stem = name.rpartition("/")[2].removesuffix(".yaml")
    if stem in known and not (name.endswith(".yaml") and "/" in name and not name.startswith("configs/")):
        return known[stem]
    raise UsageError(f"{name}: no such file{near(stem, known) or '; there are ' + ', '.join(sorted(known))}")


def overrides_of(options: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """Arguments of `pcfrl fit` that all runs get."""
    found = [f"--config={name}" for name in options.config]
    if options.data and Path(options.data).exists():
        found.append(f"--data.root={options.data}")
    elif options.data and all(word.isidentifier() for word in options.data.split(".")):
        found.append(f"--data={options.data}")
    elif options.data:
        raise UsageError(f"--data {options.data} does not exist")
    for word in rest:
        key = word.partition("=")[0]
        if key.startswith(("--trainer.logger", "--ckpt_path")):
            raise UsageError(f"{key} is set for each run by this command")
    return [*found, *rest]


def settings_of(options: argparse.Namespace, metrics: Sequence[Metric]) -> Settings:
    """How runs are run; refuses a final probe without its data."""
    tasks = [metric.name for metric in metrics if metric.is_task]
    if tasks and not (options.data_root and Path(options.data_root).is_dir()):
        raise UsageError(f"{', '.join(tasks)} is measured by a probe: give --data-root, the folder of the data sets")
    for task in tasks_named(tasks) if tasks else ():
        if not (folder := Path(options.data_root) / task.folder).exists():
            raise UsageError(
                f"--data-root {options.data_root}: {task.name} is read from {folder}, which does not exist"
            )
    return Settings(metrics, options.jobs, options.budget_minutes, options.data_root, options.probe_epochs)


def check_arguments(arguments: Sequence[str], title: str, metrics: Sequence[Metric]) -> None:
    """Let `pcfrl fit` read a command line, without building or running anything.

    UsageError if a key or a value is not accepted, with the message of `pcfrl fit`, or nothing logs a metric of
    `OnlineMonitor`.
    """
    from pcfrl_lightning.cli.training import run

    config, printed, program = io.StringIO(), io.StringIO(), sys.argv
    try:
        sys.argv = ["pcfrl"]
        with redirect_stdout(config), redirect_stderr(printed):
            run(["fit", *arguments, "--print_config"])
    except SystemExit as end:
        if end.code:
            reason = printed.getvalue().strip().rpartition("pcfrl: ")[2].removesuffix(" (see `pcfrl fit --help`)")
            raise UsageError(f"{title}: {reason or end.code}") from None
    except UsageError as error:
        raise UsageError(f"{title}: {error}") from None
    finally:
        sys.argv = program
    data = yaml.safe_load(config.getvalue()).get("data") or {}
    kind = locate(data.get("class_path", ""))
    needed = inspect.signature(kind).parameters.get("root") if isinstance(kind, type) else None
    if needed and needed.default is needed.empty and (data.get("init_args") or {}).get("root") is None:
        raise UsageError(f"{title}: data.root is not set: give --data FACES")
    monitored = [each.name for each in metrics if each.name.startswith("monitor/")]
    if monitored and "OnlineMonitor" not in config.getvalue():
        hint = "give --config pcfrl:experiment/fer2013, or another that has it"
        raise UsageError(f"{title}: {monitored[0]} is logged by OnlineMonitor, which the config has not: {hint}")


def run_all(
    following: Callable[[], Trial | None],
    settings: Settings,
    out: Path,
    total: int,
    about: Description,
    name: str,
    told: Callable[[Outcome], None] = lambda _: None,
    watch: Watch | None = None,
) -> list[Outcome]:
    """Run ``total`` trials with a line for each on the console; see `run_trials`.

    After each of them ``told`` gets its outcome, and ``out``, a folder that no other command uses meanwhile, holds all
    results so far and the description ``about`` them in a file ``name``.
    """
    outcomes = list[Outcome]()
    say = partial(plain_console(soft_wrap=True).print, style="dim")
    try:
        with alone(out):
            for outcome in run_trials(following, settings, say, watch):
                outcomes.append(outcome)
                shown = [f"{each} {value:.4g}" for each, value in outcome.values.items()]
                what = ", ".join([f"{outcome.trial.title}: {outcome.state}", *shown, f"{outcome.seconds:.0f} s"])
                say(f"{len(outcomes)}/{total} {what}{f': {outcome.error}' if outcome.state == 'failed' else ''}")
                told(outcome)
                write_results(out / RESULTS, outcomes, settings.metrics)
                about.write(out / name)
    except Stopped as stop:
        stop.text = f"stopped after {len(outcomes)} of {total} runs; the same command goes on with the others"
        raise
    left = total - sum(outcome.state != "interrupted" for outcome in outcomes)
    if left:
        say(f"the time is over, {left} of {total} runs are left; the same command goes on with them")
    return outcomes


def report(
    tables: Sequence[Sequence[Sequence[str]]], title: str, out: Path, figure: "Figure | None", lines: Sequence[str]
) -> None:
    """Print tables, their heads first, and lines; write the tables and the figure beside the results."""
    from pcfrl_lightning.figures.style import save

    for rows in tables:
        table = Table(title=title, title_justify="left")
        for number, name in enumerate(rows[0]):
            table.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in rows[1:]:
            table.add_row(*row)
        plain_console().print(table)
    (out / "table.md").write_text("\n".join([f"# {title}\n", *map(markdown, tables)]), encoding="utf-8")
    if figure:
        save(figure, out / "plot.png")
    written = f"results: {out / RESULTS}, {out / 'table.md'}{f', {out}/plot.png' if figure else ''}"
    print(*lines, written, sep="\n")
