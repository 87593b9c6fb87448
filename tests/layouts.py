"""Finds operations that copy maps from one memory layout to another, or meet maps of different layouts."""

from itertools import combinations
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPYING = frozenset({"clone", "copy_", "_to_copy"})
MATRIX = frozenset({"bmm", "mm", "addmm", "baddbmm"})  # which read either side as it lies in memory


class LayoutChanges(TorchDispatchMode):
    """While active, notes in ``found`` each operation on maps that costs a change of layout.

    A map is a tensor of three or more axes and at least ``least`` numbers. Noted are copies whose result lies in
    another order than their source, and other operations that take maps of one shape in two orders: kernels then read
    one of them with strides, or copy it first. Being found by strides, they show on a machine without CUDA.
    """

    def __init__(self, least: int = 1) -> None:
        super().__init__()
        self.least = least
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then note what it did."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = str(func).removeprefix("aten.").partition(".")[0]
        maps = [each for each in tree_leaves((args, kwargs)) if self._is_map(each)]
        if packet in COPYING:
            maps += [each for each in tree_leaves(result) if self._is_map(each)]
        if packet not in MATRIX and any(
            one.shape == two.shape and _order(one) != _order(two) for one, two in combinations(maps, 2)
        ):
            self.found.append(f"{packet} {tuple(maps[0].shape)}")
        return result

    def _is_map(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim >= 3 and value.numel() >= self.least


def _order(tensor: Tensor) -> list[int]:
    """Axes from the outermost to the innermost; axes of length 1 lie anywhere, broadcast ones have no place."""
    axes = [axis for axis, size in enumerate(tensor.shape) if size > 1 and tensor.stride(axis)]
    return sorted(axes, key=lambda axis: -tensor.stride(axis))
