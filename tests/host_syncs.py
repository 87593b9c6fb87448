"""Finds operations that would make the host wait for the device, on any device."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# The size of the result, or a Python number, depends on the data; or a Python number is copied to the device.
WAITING = frozenset(
    {
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "equal",
        "nonzero",
        "nonzero_numpy",
        "argwhere",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "unique_dim_consecutive",
        "repeat_interleave.Tensor",
        "bincount",
        "histc",
        "lift_fresh",
    }
)
INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"})


class HostSyncs(TorchDispatchMode):
    """While active, notes in ``found`` each operation for which a CUDA device would stop the host.

    These are: reading a value (``item``, ``bool``, ``equal``), results whose shape depends on the data (``nonzero``,
    ``masked_select``, indexing with a mask), ``torch.tensor`` of Python numbers (a blocking copy to the device) and
    copies to another device. Being found by name, they show on a machine without CUDA.

    Example:
        >>> with HostSyncs() as syncs:
        ...     _ = float(torch.ones(3).sum())
        >>> syncs.found
        ['_local_scalar_dense']
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operation, then run it."""
        kwargs = kwargs or {}
        packet, _, overload = str(func).removeprefix("aten.").partition(".")
        name = f"{packet}.{overload}"
        if packet in WAITING or name in WAITING:
            self.found.append(packet)
        elif packet in INDEXING and _has_mask(args[1]):
            self.found.append(f"{packet} with a mask")
        result = func(*args, **kwargs)
        if packet in ("_to_copy", "copy_") and _changes_device(packet, args, result):
            self.found.append(f"{packet} to another device")
        return result


def _has_mask(indices: Any) -> bool:
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in tree_leaves(indices))


def _changes_device(packet: str, args: Any, result: Tensor) -> bool:
    source = args[0] if packet == "_to_copy" else args[1]
    return isinstance(source, Tensor) and source.device != result.device
