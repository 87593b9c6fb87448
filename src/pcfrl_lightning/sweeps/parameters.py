"""Parameters of a sweep in W&B's format: what values each can take, and how they are drawn."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any

import numpy as np

from pcfrl_lightning.errors import UsageError, near

DISTRIBUTIONS = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform_values": ("min", "max"),
    "normal": ("mu", "sigma"),
}
"""Those that are known here, and the keys of each. W&B has more."""
_DEFAULTS = {"q": 1, "mu": 0, "sigma": 1}


@dataclass(frozen=True)
class Parameter:
    """One swept key."""

    key: str  # of the configuration, such as model.pose_beta
    distribution: str  # a key of `DISTRIBUTIONS`
    values: tuple[Any, ...] = ()  # of categorical and constant
    numbers: Mapping[str, float] = field(default_factory=dict)  # the other keys by name
    probabilities: tuple[float, ...] | None = None  # of the values; None: all the same

    def draw(self, rng: np.random.Generator) -> Any:
        given, low, high = self.numbers, self.numbers.get("min", 0), self.numbers.get("max", 1)
        if self.values:
            return self.values[int(rng.choice(len(self.values), p=self.probabilities))]
        if self.distribution == "int_uniform":
            return int(rng.integers(int(low), int(high) + 1))
        if self.distribution == "normal":
            return float(rng.normal(given["mu"], given["sigma"]))
        if self.distribution == "log_uniform_values":
            return float(math.exp(rng.uniform(math.log(low), math.log(high))))
        value = float(rng.uniform(low, high))
        return round(round(value / given["q"]) * given["q"], 12) if self.distribution == "q_uniform" else value

    def grid(self) -> tuple[Any, ...]:
        """All values, for a grid; UsageError if there are infinitely many."""
        given = self.numbers
        if self.values:
            return self.values
        if self.distribution == "int_uniform":
            return tuple(range(int(given["min"]), int(given["max"]) + 1))
        if self.distribution == "q_uniform":
            first, last = (round(given[end] / given["q"]) for end in ("min", "max"))
            return tuple(round(given["q"] * number, 12) for number in range(first, last + 1))
        raise UsageError(f"parameters.{self.key}: a grid needs values, not the distribution {self.distribution}")

    @property
    def example(self) -> Any:
        """Some value that it can take."""
        return self.draw(np.random.default_rng(0))


def read_parameter(key: str, content: Any) -> Parameter:
    """A parameter of the file; a UsageError names its key and what is wrong."""
    where = f"parameters.{key}"
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{where} must be a mapping such as {{values: [1, 2]}} or {{min: 0.0, max: 1.0}}")
    kind = content.get("distribution") or _implied(content)
    if str(kind) not in DISTRIBUTIONS:
        hint = near(str(kind), DISTRIBUTIONS) or f"; known are {', '.join(DISTRIBUTIONS)}"
        raise UsageError(f"{where}: the distribution {kind} is not known to the local backend{hint}")
    needed, given = DISTRIBUTIONS[kind], content.keys() - {"distribution"}
    extra = given - {*needed, "probabilities"} if kind == "categorical" else given - set(needed)
    if extra:
        raise UsageError(f"{where}: {kind} has no {sorted(extra)[0]}{near(sorted(extra)[0], needed)}")
    if missing := [name for name in needed if name not in content and name not in _DEFAULTS]:
        raise UsageError(f"{where} lacks {', '.join(missing)}")
    if kind in ("constant", "categorical"):
        values = [content["value"]] if kind == "constant" else content["values"]
        if not isinstance(values, list):
            raise UsageError(f"{where}: values must be a list, got {values!r}")
        values = tuple(values)
        return Parameter(key, kind, values, probabilities=_probabilities(where, content.get("probabilities"), values))
    numbers: dict[str, Any] = {name: content.get(name, _DEFAULTS.get(name)) for name in needed}
    if not all(map(_is_number, numbers.values())):
        raise UsageError(f"{where}: {', '.join(needed)} must be numbers, got {numbers}")
    if numbers.get("min", 0) >= numbers.get("max", 1):
        raise UsageError(f"{where}: min must be below max, got {numbers['min']} and {numbers['max']}")
    if kind == "log_uniform_values" and numbers["min"] <= 0:
        raise UsageError(f"{where}: log_uniform_values needs min > 0, got {numbers['min']}")
    if numbers.get("q", 1) <= 0 or numbers.get("sigma", 1) <= 0:
        raise UsageError(f"{where}: q and sigma must be above 0")
    if kind == "int_uniform" and any(number != int(number) for number in numbers.values()):
        raise UsageError(f"{where}: int_uniform needs whole numbers, got {numbers['min']} and {numbers['max']}")
    if kind == "q_uniform":  # all that is drawn is a multiple of q, so the ends are
        step = numbers["q"]
        first, last = math.ceil(numbers["min"] / step - 1e-9), math.floor(numbers["max"] / step + 1e-9)
        if first > last:
            raise UsageError(f"{where}: no multiple of q {step} lies from {numbers['min']} to {numbers['max']}")
        numbers |= {"min": round(step * first, 12), "max": round(step * last, 12)}
    return Parameter(key, kind, numbers=numbers)


def grid(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """All combinations; the last parameter changes first."""
    keys = [parameter.key for parameter in parameters]
    return [dict(zip(keys, values, strict=True)) for values in product(*(each.grid() for each in parameters))]


def random(parameters: Sequence[Parameter], seed: int) -> Iterator[dict[str, Any]]:
    """Combinations without end; the same for a seed, however often the sweep is interrupted."""
    for number in count():
        rng = np.random.default_rng([seed, number])
        yield {parameter.key: parameter.draw(rng) for parameter in parameters}


def _implied(content: Mapping[str, Any]) -> str:
    """W&B's rule for a parameter without ``distribution``."""
    if "value" in content:
        return "constant"
    if "values" in content:
        return "categorical"
    whole = all(isinstance(content.get(name), int) for name in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _probabilities(where: str, given: Any, values: Sequence[Any]) -> tuple[float, ...] | None:
    if not values:
        raise UsageError(f"{where}: values is empty")
    if given is None:
        return None
    shares = isinstance(given, list) and all(_is_number(each) and each >= 0 for each in given)
    if not shares or len(given) != len(values) or abs(sum(given) - 1) > 1e-6:
        raise UsageError(f"{where}: probabilities must be one for each of the values, at least 0, and sum to 1")
    return tuple(given)
