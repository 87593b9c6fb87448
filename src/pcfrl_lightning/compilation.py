"""``torch.compile`` with plain PyTorch in reserve: where the compiler fails, and where it computes something else."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pcfrl_lightning.errors import one_line

LIMITS = {True: 0.1, False: 0.02}
"""Largest difference to plain PyTorch, relative in norm, under autocast and without."""


class Checked:
    """The compiled form of a function, used for arguments of a kind once it was right for them.

    The first call with tensors of new shapes and types runs both forms, and compares outputs and gradients. Where the
    compiler fails or they differ, a warning gives the reason, and the plain form is called from then on. Random state
    and buffers are those after one call of the plain form.

    Args:
        plain: the function; its errors are raised as they are.
        compiled: what ``torch.compile`` made of it.
        name: what a warning calls it.
        off: option that does not compile, for the warning.
        module: whose parameters have a gradient and whose buffers a call may change.
    """

    def __init__(
        self,
        plain: Callable[..., Any],
        compiled: Callable[..., Any],
        name: str,
        off: str,
        module: nn.Module | None = None,
    ) -> None:
        self.plain, self.compiled, self.name, self.off, self.module = plain, compiled, name, off, module
        self.failed = False
        self.known: set[tuple[Any, ...]] = set()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        given = _tensors([arguments, named])
        kind = (torch.is_grad_enabled(), *((each.shape, each.dtype, each.requires_grad) for each in given))
        if not self.failed and kind not in self.known:
            self.known.add(kind)
            expected = self._results(self.plain, arguments, named)
            try:
                self._compare(expected, self._results(self.compiled, arguments, named), given)
            except Exception as error:
                self.failed = True
                rank_zero_warn(
                    f"torch.compile of {self.name} is not used: {one_line(error)} ({self.off} does not try it)"
                )
        return (self.plain if self.failed else self.compiled)(*arguments, **named)

    def _results(self, function: Callable[..., Any], arguments: Any, named: Any) -> list[list[Tensor]]:
        """Outputs, and gradients of them with random weights; nothing else changes."""
        arguments, named = tuple(map(_detached, arguments)), {key: _detached(value) for key, value in named.items()}
        parameters = [] if self.module is None else [each for each in self.module.parameters() if each.requires_grad]
        wanted = [*parameters, *(each for each in _tensors([arguments, named]) if each.requires_grad)]
        buffers = [] if self.module is None else list(self.module.buffers())
        kept = [buffer.clone() for buffer in buffers]
        cuda = {each.device for each in (*_tensors([arguments, named]), *wanted) if each.is_cuda}
        try:
            with torch.random.fork_rng(devices=[device.index for device in cuda]):
                outputs = _tensors(function(*arguments, **named))
                roots = [each for each in outputs if each.requires_grad]
                torch.manual_seed(0)
                weights = [torch.randn_like(each) for each in roots]
                found = torch.autograd.grad(roots, wanted, weights, allow_unused=True) if roots and wanted else ()
                return [[each.detach() for each in outputs], [each for each in found if each is not None]]
        finally:
            with torch.no_grad():
                for buffer, value in zip(buffers, kept, strict=True):
                    buffer.copy_(value)

    @staticmethod
    def _compare(expected: Sequence[list[Tensor]], found: Sequence[list[Tensor]], given: Sequence[Tensor]) -> None:
        limit = LIMITS[any(torch.is_autocast_enabled(each.device.type) for each in given)]
        for what, plain, compiled in zip(("outputs", "gradients"), expected, found, strict=True):
            size = _norm(plain)
            apart = _norm([a.float() - b.float() for a, b in zip(plain, compiled, strict=True)])
            if math.isfinite(size) and not apart <= limit * size:
                raise ValueError(f"its {what} are {apart:.3g} from those of plain PyTorch, whose norm is {size:.3g}")


def compile_training(part: nn.Module) -> None:
    """Compile the calls of a module in training mode, in place; parameters keep their names.

    In evaluation mode, where batches have many sizes, it runs as it was; see `Checked` for when it does not compile.
    """
    part.compile(dynamic=False)
    plain: Any = part._call_impl
    compiled: Any = part._compiled_call_impl
    checked = Checked(plain, compiled, type(part).__name__, "--model.compile_network false", part)

    def call(*arguments: Any, **named: Any) -> Any:
        return (checked if part.training else plain)(*arguments, **named)

    part._compiled_call_impl = call


def _detached(argument: Any) -> Any:
    """A tensor without the graph behind it; arguments that hold tensors within are taken as they are."""
    if not isinstance(argument, Tensor):
        return argument
    return argument.detach().requires_grad_(argument.requires_grad)


def _norm(tensors: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(each.double().square().sum()) for each in tensors))


def _tensors(value: Any) -> list[Tensor]:
    return [each for each in tree_leaves(value) if isinstance(each, Tensor)]
