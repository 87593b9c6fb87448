"""Which key of a configuration holds the object that refused its arguments."""

from typing import Any

import torch
from lightning.pytorch.cli import instantiate_class


def refusing_key(sections: dict[str, Any]) -> str:
    """Dotted key, as on the command line, of the innermost object that cannot be built; empty if all can.

    Two heads have a ``temperature`` each: the message of the class alone would not say which one is wrong.

    Args:
        sections: ``model``, ``data``, ``optimizer`` as nested ``class_path`` and ``init_args``; any may be left out.
    """
    for name in ("model", "data"):
        if key := _innermost(sections.get(name), name):
            return key
    optimizer = sections.get("optimizer")
    if optimizer:
        # a parameter to optimise, which the configuration does not name
        arguments = {"params": [torch.nn.Parameter(torch.zeros(1))], **(optimizer.get("init_args") or {})}
        return "optimizer" if _refuses({**optimizer, "init_args": arguments}) else ""
    return ""


def _innermost(spec: Any, key: str) -> str:
    if not isinstance(spec, dict) or "class_path" not in spec:
        return ""
    for name, argument in (spec.get("init_args") or {}).items():
        if found := _innermost(argument, f"{key}.{name}"):
            return found
    return key if _refuses(spec) else ""


def _refuses(spec: Any) -> bool:
    try:
        _build(spec)
    except (ValueError, TypeError):
        return True
    return False


def _build(spec: Any) -> Any:
    """An object of the user's own configuration, arguments first."""
    if not isinstance(spec, dict) or "class_path" not in spec:
        return spec
    arguments = {**(spec.get("init_args") or {}), **(spec.get("dict_kwargs") or {})}
    built = {name: _build(argument) for name, argument in arguments.items()}
    return instantiate_class((), {"class_path": spec["class_path"], "init_args": built})
