"""Float32 islands: the losses never run in half precision, whatever the trainer's autocast says."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def upcast(value: Any) -> Any:
    """Turn a float16 / bfloat16 tensor into float32; everything else (float64 included) is returned as it is."""
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of tensors: half-precision arguments are upcast to float32 and autocast is off inside.

    Logits are cosines divided by 0.07, so that the 8 bits of bfloat16 would round them by up to 0.06.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(v.device.type for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(upcast, args), **{key: upcast(value) for key, value in kwargs.items()})

    return wrapper
