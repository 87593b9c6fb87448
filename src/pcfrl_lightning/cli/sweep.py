"""``pcfrl sweep``: a sweep file of W&B, run without a server or handed to W&B."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from pcfrl_lightning.sweeps.metrics import Metric
from pcfrl_lightning.sweeps.results import RESULTS, Description, markdown, points_of, ranked, sweep_table, write_results
from pcfrl_lightning.sweeps.runner import Settings
from pcfrl_lightning.sweeps.search import Search
from pcfrl_lightning.sweeps.sweep import Sweep, read_sweep
from pcfrl_lightning.sweeps.trial import Outcome


def command_parser() -> OneLineArguments:
    """Options of `pcfrl sweep`."""
    about = "Search for values of keys of the configuration, without a server and an account, or with W&B."
    parser = parser_of("pcfrl sweep", about, "sweep", FOLDER / "sweeps")
    backend = "local (default): here and now; wandb: starts a sweep on the server and an agent here"
    parser.add_argument("--backend", choices=("local", "wandb"), default="local", help=backend)
    count = "trials; of the agent with wandb (default: run_cap of the file, else the whole grid)"
    parser.add_argument("--count", type=positive, metavar="N", help=count)
    parser.add_argument(
        "--seed", type=int, default=0, help="of the values that are tried, not of the runs (default: 0)"
    )
    return parser


def read(name: str, overrides: Sequence[str] = ()) -> tuple[Path, Sweep]:
    """The file of a name or path, and what it says."""
    path = file_of(name, FOLDER / "sweeps")
    return path, read_sweep(path, overrides)


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl sweep`; returns the exit status."""
    parser = command_parser()
    options, rest = parser.parse_known_args(arguments)
    try:
        path, sweep = read(options.file, overrides_of(options, rest))
        out = Path(options.out or Path("runs/sweep") / path.stem)
        settings = settings_of(options, [sweep.metric])
        first = {parameter.key: parameter.example for parameter in sweep.parameters}
        check_arguments(sweep.trial(0, first, out / "runs").arguments, path.name, [sweep.metric])
        if options.backend == "local":
            search = Search(sweep, out / "runs", options.count, options.seed)
    except UsageError as error:
        parser.error(str(error))
    if options.backend == "wandb":
        return hand_to_wandb(sweep.content, options.count)
    return _run(search, sweep, settings, out)


def hand_to_wandb(content: Mapping[str, Any], count: int | None) -> int:
    """Create a sweep on the server, and run its agent here; it runs the command line of the file."""
    import wandb

    identifier = wandb.sweep(dict(content))
    wandb.agent(identifier, count=count)
    return 0


def _run(search: Search, sweep: Sweep, settings: Settings, out: Path) -> int:
    title = str(sweep.content.get("name") or f"sweep over {', '.join(each.key for each in sweep.parameters)}")

    def ended(outcomes: list[Outcome]) -> None:
        search.tell(outcomes[-1])
        write_results(out / RESULTS, outcomes, settings.metrics)
        Description(title, (sweep.metric,)).write(out / "sweep.json")

    outcomes = run_all(search.following, settings, out, search.count, ended, search.watch if sweep.hyperband else None)
    report(outcomes, sweep.metric, title, out)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def report(outcomes: list[Outcome], metric: Metric, title: str, out: Path) -> None:
    """Print and write the table, the plot and the best command."""
    from pcfrl_lightning.figures.parallel_coordinates import parallel_coordinates
    from pcfrl_lightning.figures.style import save

    rows = sweep_table(outcomes, metric)
    print_table(rows, title)
    (out / "table.md").write_text(f"# {title}\n\n{markdown(rows)}", encoding="utf-8")
    order = [outcome for outcome in ranked(outcomes, metric) if outcome.values]
    if order:
        save(parallel_coordinates(points_of(order, metric), metric.sign > 0, title), out / "plot.png")
        print(f"best: {shlex.join(['pcfrl', 'fit', *order[0].trial.arguments])}")
    print(f"results: {out / RESULTS}, {out / 'table.md'}{f', {out}/plot.png' if order else ''}")
