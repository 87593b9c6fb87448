"""The random numbers of `DeviceViews` in the order in which `AlbumentationsViews` draws them, to compare both."""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.batched import draws

_ORDERS = tuple(permutations(range(4)))


class Drawn:
    """In the place of a generator, for one image: gives out the numbers of its row, drawn before."""

    def __init__(self, row: Sequence[float], appearance: Appearance) -> None:
        self.numbers = np.array(list(read_one_by_one(row, appearance)))

    def random(self, count: int) -> np.ndarray:
        """All of them; fewer than asked for, as an upper bound is asked for."""
        assert len(self.numbers) <= count
        return self.numbers


def read_one_by_one(row: Sequence[float], appearance: Appearance) -> Iterator[float]:
    """The numbers (draws.NUMBERS,) of one image as `AlbumentationsViews` draws them: no strengths for what does not
    happen, and one number in the place of the four keys of an order."""
    yield from row[: draws.GEOMETRY]
    for start in range(draws.GEOMETRY, draws.NUMBERS, draws.APPEARANCE):
        view = row[start : start + draws.APPEARANCE]
        yield view[0]
        if view[0] < appearance.jitter_p:
            yield from view[1:5]
            keys = view[5:9]
            yield (_ORDERS.index(tuple(sorted(range(4), key=keys.__getitem__))) + 0.5) / len(_ORDERS)
        yield from view[9:11]
        if view[10] < appearance.blur_p:
            yield view[11]
        yield view[12]
