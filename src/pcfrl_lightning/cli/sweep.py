"""``pcfrl sweep``: a sweep file of W&B, run without a server or handed to W&B."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pcfrl_lightning.cli import trials
from pcfrl_lightning.cli.arguments import OneLineArguments, positive
from pcfrl_lightning.cli.configs import FOLDER
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.sweeps.metrics import Metric
from pcfrl_lightning.sweeps.results import Description, points_of, ranked, sweep_table
from pcfrl_lightning.sweeps.search import Search
from pcfrl_lightning.sweeps.sweep import Sweep, read_sweep
from pcfrl_lightning.sweeps.trial import Outcome


def command_parser() -> OneLineArguments:
    """Options of `pcfrl sweep`."""
    about = "Search for values of keys of the configuration, without a server and an account, or with W&B."
    parser = trials.parser_of("pcfrl sweep", about, "sweep", FOLDER / "sweeps")
    backend = "local (default): here and now; wandb: starts a sweep on the server and an agent here"
    parser.add_argument("--backend", choices=("local", "wandb"), default="local", help=backend)
    count = "trials; of the agent with wandb (default: run_cap of the file, else the whole grid)"
    parser.add_argument("--count", type=positive, metavar="N", help=count)
    seed = "of the values that are tried, not of the runs (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=seed)
    return parser


def read(name: str, overrides: Sequence[str] = ()) -> tuple[Path, Sweep]:
    """The file of a name or path, and what it says."""
    path = trials.file_of(name, FOLDER / "sweeps")
    return path, read_sweep(path, overrides)


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl sweep`; returns the exit status."""
    parser = command_parser()
    options, rest = parser.parse_known_args(arguments)
    try:
        path, sweep = read(options.file, trials.overrides_of(options, rest))
        out = Path(options.out or Path("runs/sweep") / path.stem)
        settings = trials.settings_of(options, [sweep.metric])
        first = {parameter.key: parameter.example for parameter in sweep.parameters}
        trials.check_arguments(sweep.trial(0, first, out / "runs").arguments, path.name, [sweep.metric])
        if options.backend == "local":
            search = Search(sweep, out / "runs", options.count, options.seed)
    except UsageError as error:
        parser.error(str(error))
    if options.backend == "wandb":
        import wandb

        wandb.agent(wandb.sweep(dict(sweep.content)), count=options.count)  # it runs the command line of the file
        return 0
    title = str(sweep.content.get("name") or f"sweep over {', '.join(each.key for each in sweep.parameters)}")
    about, watch = Description(title, (sweep.metric,)), search.watch if sweep.hyperband else None
    outcomes = trials.run_all(search.following, settings, out, search.count, about, "sweep.json", search.tell, watch)
    report(outcomes, sweep.metric, title, out)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def report(outcomes: list[Outcome], metric: Metric, title: str, out: Path) -> None:
    """Print and write the table, the plot and the best command."""
    from pcfrl_lightning.figures.parallel_coordinates import parallel_coordinates

    order = [outcome for outcome in ranked(outcomes, metric) if outcome.values]
    lines = [f"best: {shlex.join(['pcfrl', *each.trial.again()])}" for each in order[:1]]
    figure = parallel_coordinates(points_of(order, metric), metric.sign > 0, title) if order else None
    trials.report([sweep_table(outcomes, metric)], title, out, figure, lines)
