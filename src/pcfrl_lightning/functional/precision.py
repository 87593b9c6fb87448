"""Float32 islands: the losses never run in half precision or TF32, whatever the trainer's settings say."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def _upcast(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16) else value


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of tensors: half-precision arguments are upcast to float32, autocast is off inside, and
    matrix products are float32.

    Logits are cosines divided by 0.07, so that the 8 bits of bfloat16 would round them by up to 0.06, and the 11 of
    TF32 by up to 0.007. The products of the backward pass run outside of the function, in the precision that
    ``torch.set_float32_matmul_precision`` chose, and so do those of a function compiled by ``torch.compile``.
    """

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:  # torch.compile cannot trace the definition with P.args
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        arguments, named = map(_upcast, args), {key: _upcast(value) for key, value in kwargs.items()}
        with torch.autocast(tensors[0].device.type, enabled=False):
            if torch.compiler.is_compiling():  # which cannot trace a change of the global setting
                return function(*arguments, **named)
            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")  # float32, not TF32
            try:
                return function(*arguments, **named)
            finally:
                torch.set_float32_matmul_precision(before)

    return cast(Callable[P, R], wrapper)
