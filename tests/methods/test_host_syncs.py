"""The detector of host synchronisations finds what it should, and nothing else."""

from collections.abc import Callable

import pytest
import torch

from host_syncs import HostSyncs

X = torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    "waits",
    [
        lambda: X.sum().item(),
        lambda: bool(X.any()),
        lambda: int(X[0, 0]),
        lambda: torch.equal(X, X + 1),
        lambda: X.nonzero(),
        lambda: torch.where(X > 2),
        lambda: X[X > 2],
        lambda: X.masked_select(X > 2),
        lambda: X.unique(),
        lambda: torch.repeat_interleave(torch.tensor([1, 2])),
        lambda: torch.tensor(3.0),
        lambda: X.to("meta"),
        lambda: X.clone().index_put_((X > 2,), torch.zeros(3)),
    ],
)
def test_waits_are_found(waits: Callable[[], object]) -> None:
    with HostSyncs() as syncs:
        waits()
    assert syncs.found


@pytest.mark.parametrize(
    "flows",
    [
        lambda: torch.where(X > 2, X, 0.0),
        lambda: X.masked_fill(X > 2, 0.0),
        lambda: X[:, torch.zeros(2, dtype=torch.long)],
        lambda: X.topk(2),
        lambda: X.new_full((), 3.0),
        lambda: X.bfloat16().float(),
        lambda: X.clone().copy_(X.double()),
        lambda: (X @ X.T).softmax(dim=1),
    ],
)
def test_other_operations_are_not(flows: Callable[[], object]) -> None:
    with HostSyncs() as syncs:
        flows()
    assert syncs.found == []


def test_indices_made_before_the_mode() -> None:
    indices = torch.tensor([1, 0])
    with HostSyncs() as syncs:
        result = X[indices]
    assert syncs.found == []
    assert torch.equal(result, X.flip(0))
