"""An ablation: one training for each variant and seed, from one yaml of ``configs/ablation``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pcfrl_lightning.errors import UsageError, near, one_line
from pcfrl_lightning.sweeps.metrics import metric
from pcfrl_lightning.sweeps.results import Description
from pcfrl_lightning.sweeps.trial import Trial

_KEYS = {"title": str, "configs": list, "metrics": dict, "axis": str, "paper": dict, "variants": dict}
_KINDS = {str: "a text", list: "a list", dict: "a mapping", int: "a whole number"}


@dataclass(frozen=True)
class Ablation(Description):
    """Variants of a training; those after the first are compared with it."""

    configs: tuple[str, ...] = ()  # of all variants
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # configs and key=value after them, by variant

    def only(self, names: Sequence[str]) -> "Ablation":
        """The same with some of the variants, in the order of the file; all for no names."""
        for name in names:
            if name not in self.variants:
                raise UsageError(f"--only {name}: there is no such variant{near(name, self.variants)}")
        return replace(self, variants=tuple(name for name in self.variants if not names or name in names))

    def trials(self, seeds: int, root: Path, configs: Sequence[str] = (), overrides: Sequence[str] = ()) -> list[Trial]:
        """All runs, the first seed of every variant before the second one, in folders below ``root``.

        ``configs`` stand in place of those of the file; ``overrides`` are further arguments of `pcfrl fit`, over which
        what a variant sets takes precedence.
        """
        base = [*(f"--config={name}" for name in configs or self.configs), *overrides]
        chosen = {name: [*base, *map(argument, self.items[name])] for name in self.variants}
        return [
            Trial(name, seed, (*arguments, f"--seed_everything={seed}", f"--data.seed={seed}"), root)
            for seed in range(seeds)
            for name, arguments in chosen.items()
        ]


def argument(item: str) -> str:
    """A line of a variant as an argument of `pcfrl fit`: a config, or ``key=value``."""
    key, equals, _ = item.partition("=")
    return f"--{item}" if equals and not key.endswith((".yaml", ".yml")) else f"--config={item}"


def read_ablation(path: Path) -> Ablation:
    """The ablation of a file; a UsageError names the key that is wrong, and the file."""
    content = read_yaml(path, _KEYS, {"title", "configs", "metrics", "variants"})
    variants: dict[str, Any] = {str(name): items for name, items in content["variants"].items()}
    lists = {"configs": content["configs"]} | {f"variants.{name}": items for name, items in variants.items()}
    for key, items in lists.items():
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise UsageError(f"{path}: {key} must be a list of configs and key=value, got {items!r}")
    paper: dict[str, dict[str, float]] = {}
    for column, row in (content.get("paper") or {}).items():
        if not isinstance(row, dict) or not all(isinstance(value, (int, float)) for value in row.values()):
            raise UsageError(f"{path}: paper.{column} must be a mapping of variants and numbers, got {row!r}")
        paper[column] = {str(name): value for name, value in row.items()}
        for name in paper[column].keys() - variants.keys():
            raise UsageError(f"{path}: paper.{column}: there is no variant {name!r}{near(name, variants)}")
    axis = content.get("axis")
    if axis and not any(_number(name) for name in variants):
        raise UsageError(f"{path}: the variants of an ablation with an axis are called by numbers")
    metrics = tuple(metric(str(name), goal) for name, goal in content["metrics"].items())
    items = {name: tuple(items) for name, items in variants.items()}
    return Ablation(content["title"], metrics, tuple(variants), axis, paper, tuple(content["configs"]), items)


def read_yaml(path: Path, keys: Mapping[str, type], needed: set[str]) -> dict[str, Any]:
    """A mapping with some ``keys`` of some types; UsageError if it is none, lacks a needed one, or has another one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no yaml: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must be a mapping with {', '.join(sorted(needed))}")
    for key in content.keys() - keys.keys():
        raise UsageError(f"{path}: unknown key {key!r}{near(str(key), keys)}")
    if missing := sorted(key for key in needed if not content.get(key)):
        raise UsageError(f"{path} lacks {', '.join(missing)}")
    for key, value in content.items():
        if value is not None and not isinstance(value, keys[key]):
            raise UsageError(f"{path}: {key} must be {_KINDS[keys[key]]}, got {value!r}")
    return content


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
