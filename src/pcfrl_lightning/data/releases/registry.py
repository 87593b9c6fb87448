"""Published data sets by name: whatever the modules of this folder define, so that a new file is enough."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from pcfrl_lightning.data import releases
from pcfrl_lightning.data.releases.base import Release


def discover() -> dict[str, type[Release]]:
    """Import the modules of this folder (cheap: they read nothing and import what is large when it is used); name to
    class of each `Release` in them that has a `name` of its own.
    """
    for module in pkgutil.iter_modules(releases.__path__, f"{releases.__name__}."):
        import_module(module.name)
    found = {kind.name: kind for each in Release.__subclasses__() for kind in _family(each) if "name" in vars(kind)}
    return {name: kind for name, kind in found.items() if kind.__module__.startswith(f"{releases.__name__}.")}


def _family(kind: type[Release]) -> Iterator[type[Release]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _family(each)


DATA_SETS = discover()
OFFICIAL: dict[str, dict[str, int | None]] = {
    name: dict(kind.official) for name, kind in DATA_SETS.items() if kind.official
}
"""Published sizes, see `Release.official`; data sets without an entry have none to compare with."""


def data_class(name: str) -> type[Release]:
    """The data module of a name; a ValueError lists the known ones."""
    if name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(sorted(DATA_SETS))}")
    return DATA_SETS[name]
