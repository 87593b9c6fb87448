"""Describe injected objects with primitives, so that a checkpoint path alone is enough to rebuild them.

Convention (the one scikit-learn uses): a class keeps each argument of its ``__init__`` in an attribute of its name.
"""

import inspect
from importlib import import_module
from typing import Any

from torch import nn

_PRIMITIVE = (str, int, float, bool, type(None))


def describe(value: Any) -> Any:
    """Turn an object into nested primitives: ``{"class_path": ..., "init_args": {...}}``.

    Primitives, lists, tuples and dictionaries of them are returned as they are (tuples as lists).

    Raises:
        TypeError: an argument of the class was not kept in an attribute of the same name, so it cannot be described.
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


def build(spec: Any) -> Any:
    """Inverse of :func:`describe`: import the class named by ``class_path`` and call it with ``init_args``.

    Raises:
        ValueError: the class cannot be imported; the message names the class path.
    """
    if isinstance(spec, list):
        return [build(item) for item in spec]
    if not isinstance(spec, dict) or "class_path" not in spec:
        return spec
    module_name, _, class_name = str(spec["class_path"]).rpartition(".")
    try:
        cls = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot import class_path {spec['class_path']!r}: {error}") from error
    arguments = {**(spec.get("init_args") or {}), **(spec.get("dict_kwargs") or {})}
    return cls(**{name: build(argument) for name, argument in arguments.items()})
