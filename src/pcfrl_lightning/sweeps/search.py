"""Which values a sweep tries next, and which trials it ends early."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcfrl_lightning.errors import UsageError, one_line
from pcfrl_lightning.sweeps.parameters import Parameter, grid, random
from pcfrl_lightning.sweeps.sweep import Sweep
from pcfrl_lightning.sweeps.trial import VALUES, Outcome, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_START = 10
"""Trials before the first that Bayesian optimisation proposes from what it knows."""


class Search:
    """Proposes the trials of a sweep in an order that does not depend on interruptions, as far as that can be.

    Grid and random values are a function of the number of the trial. Bayesian optimisation is asked for each trial with
    all that is known by then; a trial that was begun keeps its values, which are written down before it starts.

    Args:
        sweep: the file.
        root: folder of the trials.
        count: how many; None: `run_cap`, else the whole grid. UsageError if that has no end.
        seed: of random values and of the sampler.
    """

    def __init__(self, sweep: Sweep, root: Path, count: int | None = None, seed: int = 0) -> None:
        self.sweep, self.root, self.number = sweep, root, 0
        count = count or sweep.run_cap
        listed: Iterator[dict[str, Any]] | None = None
        if sweep.method == "grid":
            combinations = grid(sweep.parameters)
            listed, self.count = iter(combinations), min(count or len(combinations), len(combinations))
        elif count is None:
            raise UsageError(f"a sweep with method {sweep.method} has no end: give --count, or run_cap in its file")
        else:
            listed, self.count = (random(sweep.parameters, seed) if sweep.method == "random" else None), count
        self._listed = islice(listed, self.count) if listed else None
        self._study = _Study(sweep, seed) if sweep.method == "bayes" or sweep.hyperband else None

    def following(self) -> Trial | None:
        """The next trial; None: all were given."""
        if self.number >= self.count:
            return None
        number, self.number = self.number, self.number + 1
        values = next(self._listed) if self._listed else _begun(self.sweep, self.root, number)
        if self._study:
            values = self._study.ask(number, values)
        assert values is not None  # of the list or of the study
        return self.sweep.trial(number, values, self.root)

    def watch(self, trial: Trial, history: list[float]) -> bool:
        """Whether a trial does worse than others did at that epoch."""
        return bool(self._study and self._study.prune(int(trial.name), history))

    def tell(self, outcome: Outcome) -> None:
        if self._study:
            self._study.tell(int(outcome.trial.name), outcome)


class _Study:
    """Optuna's samplers and pruners; the files of the trials are its memory, so it needs no data base."""

    def __init__(self, sweep: Sweep, seed: int) -> None:
        try:
            import optuna
            from optuna.pruners import NopPruner, SuccessiveHalvingPruner
        except ImportError:
            what = "method bayes" if sweep.method == "bayes" else "early_terminate"
            raise UsageError(f"{what} needs Optuna: pip install 'pcfrl-lightning[sweep]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna, self.metric = optuna, sweep.metric
        self.space = {each.key: _distribution(each, sweep.method) for each in sweep.parameters}
        self.study = optuna.create_study(
            direction="maximize" if sweep.metric.sign > 0 else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_START, constant_liar=True),
            # W&B's hyperband has one bracket: at epochs min_iter eta^k the best 1/eta of the trials go on
            pruner=SuccessiveHalvingPruner(*sweep.hyperband) if sweep.hyperband else NopPruner(),
        )
        self.trials: dict[int, optuna.Trial] = {}
        self.reported: dict[int, int] = {}

    def ask(self, number: int, values: Mapping[str, Any] | None) -> dict[str, Any]:
        if values is not None:
            self.study.enqueue_trial(dict(values))
        try:
            trial = self.trials[number] = self.study.ask(self.space)
        except ValueError as error:
            raise UsageError(f"trial {number} was begun by another sweep ({error}): give another --out") from None
        return {key: trial.params[key] for key in self.space}

    def prune(self, number: int, history: list[float]) -> bool:
        trial, worse = self.trials[number], False
        for step in range(self.reported.get(number, 0), len(history)):
            trial.report(history[step], step + 1)
            worse = trial.should_prune() or worse
        self.reported[number] = max(self.reported.get(number, 0), len(history))
        return worse

    def tell(self, number: int, outcome: Outcome) -> None:
        states = self.optuna.trial.TrialState
        state = {"finished": states.COMPLETE, "stopped": states.PRUNED}.get(outcome.state, states.FAIL)
        self.prune(number, outcome.history)  # of an earlier command: later trials are compared with it
        value = outcome.values[self.metric.name] if outcome.state == "finished" else None
        self.study.tell(self.trials[number], value, state)


def _begun(sweep: Sweep, root: Path, number: int) -> dict[str, Any] | None:
    """Values of a trial that an earlier command began."""
    path = sweep.trial(number, {}, root).folder / VALUES
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds no values of a trial ({one_line(error)}): remove that folder") from None


def _distribution(parameter: Parameter, method: str) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.values:
        return CategoricalDistribution(parameter.values)
    if parameter.distribution == "normal":
        if method == "bayes":
            raise UsageError(f"parameters.{parameter.key}: normal is for the method random; give min and max")
        return FloatDistribution(-1e30, 1e30)
    low, high, step = parameter.numbers["min"], parameter.numbers["max"], parameter.numbers.get("q")
    if parameter.distribution == "int_uniform" or isinstance(step, int):  # as `Parameter.draw`
        return IntDistribution(int(low), int(high), step=int(step or 1))
    return FloatDistribution(low, high, log=parameter.distribution == "log_uniform_values", step=step)
