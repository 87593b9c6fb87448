"""The detector of layout changes finds what it should, and nothing else."""

import pytest
import torch

from layouts import LayoutChanges

MAPS = torch.zeros(2, 3, 4, 5)
LAST = MAPS.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "changes",
    [
        lambda: MAPS.contiguous(memory_format=torch.channels_last),
        lambda: MAPS + LAST,
        lambda: LAST.flatten(1),
        lambda: LAST.clone().copy_(MAPS),
        lambda: MAPS.to(torch.float64, memory_format=torch.channels_last),
    ],
)
def test_changes_are_found(changes) -> None:  # type: ignore[no-untyped-def]
    with LayoutChanges() as layouts:
        changes()
    assert layouts.found


@pytest.mark.parametrize(
    "keeps",
    [
        lambda: LAST + LAST.relu(),
        lambda: LAST.bfloat16(),
        lambda: LAST.flatten(2).transpose(1, 2) * 2,
        lambda: MAPS.flatten(1),
        lambda: LAST + torch.zeros(3, 1, 1),
        lambda: torch.bmm(MAPS.flatten(2), MAPS.flatten(2).transpose(1, 2)),
    ],
)
def test_other_operations_are_not(keeps) -> None:  # type: ignore[no-untyped-def]
    with LayoutChanges() as layouts:
        keeps()
    assert layouts.found == []


def test_small_maps_are_left_out() -> None:
    with LayoutChanges(least=121) as layouts:
        LAST.flatten(1)
    assert layouts.found == []
