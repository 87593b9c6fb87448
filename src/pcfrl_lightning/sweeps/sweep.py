"""A sweep file in W&B's own format, and the trials that the local backend makes of it."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.sweeps.ablation import read_yaml
from pcfrl_lightning.sweeps.metrics import Metric, metric
from pcfrl_lightning.sweeps.parameters import Parameter, read_parameter
from pcfrl_lightning.sweeps.trial import Trial

ARGS = "${args}"
_KEYS: dict[str, type] = dict.fromkeys(("name", "description", "project", "entity", "program", "method"), object)
_KEYS |= {"metric": dict, "parameters": dict, "command": list, "early_terminate": dict, "run_cap": int}
_STOPPING = {"type", "min_iter", "max_iter", "s", "eta", "strict"}


@dataclass(frozen=True)
class Sweep:
    """A search over keys of the configuration."""

    content: Mapping[str, Any]  # of the file, as W&B gets it
    method: str  # grid, random or bayes
    metric: Metric  # what it looks for
    parameters: tuple[Parameter, ...]  # the swept keys
    command: tuple[str, ...]  # arguments of `pcfrl fit` before the swept ones
    hyperband: tuple[int, int] | None  # min_iter and eta of early termination; None: all trials run to their end
    run_cap: int | None  # number of trials; None: not said

    def trial(self, number: int, values: Mapping[str, Any], root: Path) -> Trial:
        """A trial; what is swept stands on the command line, so that all processes of a run get the same."""
        return Trial(f"{number:03d}", 0, (*self.command, *flags(values)), root, values)


def flags(values: Mapping[str, Any]) -> list[str]:
    """What W&B puts in place of ``${args}``."""
    return [f"--{key}={value}" for key, value in values.items()]


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a file; a UsageError names the key that is wrong, and the file.

    ``overrides`` are further arguments of `pcfrl fit`, which stand before the swept ones.
    """
    content = read_yaml(path, _KEYS, {"method", "metric", "parameters", "command"})
    try:
        command = [str(word) for word in content["command"]]
        if command[:2] != ["pcfrl", "fit"] or command[-1] != ARGS:
            raise UsageError(f"command must begin with pcfrl and fit and end with {ARGS}, got {' '.join(command)}")
        if content["method"] not in ("grid", "random", "bayes"):
            raise UsageError(f"method must be grid, random or bayes, got {content['method']!r}")
        if (cap := content.get("run_cap")) is not None and cap < 1:
            raise UsageError(f"run_cap must be at least 1, got {cap}")
        parameters = tuple(read_parameter(str(key), each) for key, each in content["parameters"].items())
        return Sweep(
            {**content, "command": [*command[:-1], *overrides, ARGS]},
            content["method"],
            metric(str(content["metric"].get("name", "")), content["metric"].get("goal", "minimize")),
            parameters,
            (*map(with_environment, command[2:-1]), *overrides),
            _hyperband(content.get("early_terminate")),
            cap,
        )
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def with_environment(word: str) -> str:
    """``${envvar:NAME}`` as W&B reads it: the variable, or its name where there is none."""
    return re.sub(r"\$\{envvar:(\w+)\}", lambda found: os.environ.get(found[1], found[1]), word)


def _hyperband(content: Mapping[str, Any] | None) -> tuple[int, int] | None:
    if content is None:
        return None
    if content.get("type") != "hyperband" or content.keys() - _STOPPING:
        raise UsageError(f"early_terminate must be of type hyperband with {', '.join(sorted(_STOPPING))}")
    try:
        eta, s = int(content.get("eta", 3)), int(content.get("s", 1))
        least = int(content.get("min_iter") or int(content.get("max_iter", 0)) // eta**s)
    except (ArithmeticError, TypeError, ValueError):
        raise UsageError("early_terminate: min_iter, max_iter, s and eta must be whole numbers") from None
    if least < 1 or eta < 2:
        raise UsageError("early_terminate needs min_iter >= 1, or max_iter and s, and eta >= 2")
    return least, eta
