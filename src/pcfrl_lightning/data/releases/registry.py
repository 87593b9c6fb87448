"""Published data sets by name: whatever the modules of this folder define, so that a new file is enough."""

import pkgutil
from importlib import import_module

from pcfrl_lightning.data import releases
from pcfrl_lightning.data.releases.base import Release
from pcfrl_lightning.errors import require


def discover() -> dict[str, type[Release]]:
    """Import the modules of this folder (cheap: they read nothing and import what is large when it is used); name to
    class of each `Release` in them that has a `name` of its own.
    """
    modules = [
        import_module(module.name) for module in pkgutil.iter_modules(releases.__path__, f"{releases.__name__}.")
    ]
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    return {kind.name: kind for kind in kinds if issubclass(kind, Release) and "name" in vars(kind)}


DATA_SETS = discover()
OFFICIAL = {name: dict(kind.official) for name, kind in DATA_SETS.items() if kind.official}
"""Published sizes, see `Release.official`; data sets without an entry have none to compare with."""


def data_class(name: str) -> type[Release]:
    """The data module of a name; a ValueError lists the known ones."""
    require(name in DATA_SETS, f"unknown data set {name!r}; known are {', '.join(sorted(DATA_SETS))}")
    return DATA_SETS[name]
