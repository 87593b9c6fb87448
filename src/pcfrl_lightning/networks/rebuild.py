"""Modules as primitives and back: a file describes what is to be built, but never chooses code to run.

Convention (the one scikit-learn uses): a class keeps each argument of its ``__init__`` in an attribute of its name.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import DataError, one_line
from pcfrl_lightning.networks.checkpoint import check_memory, check_weights

PREFIX = "network."
"""What the names of an encoder's weights begin with in the checkpoint of a method."""
_PACKAGE = "pcfrl_lightning"
_ROOMS = ("networks", "heads", "methods")
_PRIMITIVE = (str, int, float, bool, type(None))
M = TypeVar("M", bound=nn.Module)


def describe(value: Any) -> Any:
    """Turn an object into nested primitives: ``{"class_path": ..., "init_args": {...}}``.

    Primitives, lists, tuples and dictionaries of them are returned as they are (tuples as lists). TypeError if an
    argument of the class was not kept in an attribute of the same name.
    """
    if isinstance(value, _PRIMITIVE):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    cls = type(value)
    arguments = {}
    # the signature of a module that takes nothing is (*args, **kwargs)
    parameters = {} if cls.__init__ is nn.Module.__init__ else inspect.signature(cls).parameters
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or not hasattr(value, name):
            raise TypeError(
                f"{cls.__module__}.{cls.__qualname__} does not keep its argument '{name}' in an attribute of that "
                "name, so the checkpoint could not rebuild it. Keep it, or create the model from a yaml config."
            )
        arguments[name] = describe(getattr(value, name))
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": arguments}


def build(spec: Any, trust: str | Iterable[str] = ()) -> Any:
    """Inverse of ``describe`` for a description that comes from a file.

    Nothing that the file names is called unless `find_class` accepts it, arguments of arguments included. A class with
    a class method ``from_description(**init_args)`` is made by that: it must give the same module without reading or
    downloading weights. ``trust`` names packages of the user whose classes are accepted, too. ValueError names the
    class or argument that is refused.
    """
    if isinstance(spec, _PRIMITIVE):
        return spec
    if isinstance(spec, (list, tuple)):
        return [build(item, trust) for item in spec]
    if not isinstance(spec, dict) or not all(isinstance(key, str) for key in spec):
        raise ValueError(f"a description holds text, numbers, lists and named settings, not {type(spec).__name__}")
    if "class_path" not in spec:
        return {key: build(item, trust) for key, item in spec.items()}
    cls = find_class(spec["class_path"], trust)
    if unknown := sorted(spec.keys() - {"class_path", "init_args", "dict_kwargs"}):
        raise ValueError(f"the description of {cls.__name__} has unknown keys: {', '.join(unknown)[:100]}")
    arguments: dict[str, Any] = {}
    for part in ("init_args", "dict_kwargs"):
        given = build(spec.get(part) or {}, trust)
        if not isinstance(given, dict):
            raise ValueError(f"{part} of {cls.__name__} must be named settings, got {type(given).__name__}")
        arguments |= given
    try:
        return getattr(cls, "from_description", cls)(**arguments)
    except Exception as error:  # wrong names, types and sizes of arguments end in any kind of error
        raise ValueError(f"{cls.__name__} cannot be made: {one_line(error)}") from error


def find_class(path: Any, trust: str | Iterable[str] = ()) -> type[nn.Module]:
    """The class that a file may name: an ``nn.Module`` of this project, found by its class name alone (so that files
    stay readable when modules move), or one defined in a package of ``trust``. ValueError if it is something else;
    nothing of it was imported or run.
    """
    if not isinstance(path, str):
        raise ValueError(f"class_path must be the name of a class, got {type(path).__name__}")
    trust = [trust] if isinstance(trust, str) else list(trust)
    module, _, name = path.rpartition(".")
    found: Any = None
    if _inside(module, trust):
        try:
            found = getattr(import_module(module), name)
        except Exception as error:
            raise ValueError(f"cannot import class_path {path!r}: {one_line(error)}") from error
        accepted = isinstance(found, type) and _inside(found.__module__, trust)
    elif not module or _inside(module, [_PACKAGE]):
        found = next((classes[name] for room in _ROOMS if name in (classes := _own_classes(room))), None)
        accepted = found is not None
    else:
        raise ValueError(
            f"class_path {path[:100]!r} is not part of this project, so it is not run; "
            f"if you trust its package, say trust=[{path.split('.')[0][:100]!r}]"
        )
    if not accepted or not _injectable(found):
        raise ValueError(f"class_path {path[:100]!r} is not an nn.Module that can be a part of a network or method")
    return found


def rebuild(
    make: Callable[[], M], state: Mapping[str, Tensor], path: Path, *, trusted: bool = False, strict: str = ""
) -> M:
    """Make the module that a file describes and fill it with the weights of that file; DataError names the file.

    Names and shapes are compared on the meta device first, so that no file makes us allocate more than it holds. The
    random state is left alone.

    Args:
        make: builds the module.
        state: its weights.
        path: the file, for its size and for messages.
        trusted: classes of the user may be among those that are made; they need not work on the meta device.
        strict: weights whose names begin like this must be exactly those of the module; others may be missing, and
            are left out where the module does not have them.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            try:
                with torch.device("meta"):
                    expected = make().state_dict()
            except Exception:
                if not trusted:
                    raise
                expected = make().state_dict()
            exact = {key: value.shape for key, value in expected.items() if key.startswith(strict)}
            check_weights(exact, {key: value for key, value in state.items() if key.startswith(strict)})
            check_memory(expected, path)
            module = make()
            module.load_state_dict({key: value for key, value in state.items() if key in expected}, strict=False)
    except Exception as error:  # of any class that the file may name
        raise DataError(f"{path} does not hold the network it describes: {one_line(error)}") from error
    return module


@cache
def _own_classes(room: str) -> dict[str, type[nn.Module]]:
    package = import_module(f"{_PACKAGE}.{room}")
    modules = [import_module(f"{package.__name__}.{module.name}") for module in pkgutil.iter_modules(package.__path__)]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if _injectable(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def _injectable(value: Any) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, nn.Module)
        and all(base.__name__ != "LightningModule" for base in value.__mro__)
    )


def _inside(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)
