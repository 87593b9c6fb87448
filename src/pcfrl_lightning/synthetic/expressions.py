"""Expressions as combinations of the eight DISFA action units.

Rows follow the official FER-2013 codes. A face of expression ``e`` gets action units drawn from ``RECIPES[e]``,
multiplied by one common strength, plus a few units drawn independently of the expression, so that the action units
of a face are not a function of its expression alone.
"""

import numpy as np
import numpy.typing as npt

ACTION_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
"""DISFA order: inner brow raiser, outer brow raiser, brow lowerer, cheek raiser, nose wrinkler, lip corner puller,
lips part, jaw drop."""

MAX_INTENSITY = 5

PRESENT_FROM = 2
"""A unit counts as present from this intensity on (the usual rule on DISFA)."""

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Index = FER-2013 code."""

# expression -> {action unit: (lowest, highest) intensity at full strength}
RECIPES: dict[str, dict[int, tuple[int, int]]] = {
    "angry": {4: (4, 5)},
    "disgust": {4: (1, 3), 9: (4, 5), 25: (0, 2)},
    "fear": {1: (4, 5), 2: (2, 4), 4: (2, 3), 25: (3, 5)},
    "happy": {6: (3, 5), 12: (4, 5), 25: (0, 4)},
    "sad": {1: (4, 5), 4: (2, 4)},
    "surprise": {1: (4, 5), 2: (4, 5), 25: (4, 5), 26: (3, 5)},
    "neutral": {},
}

STRENGTH = (0.65, 1.0)  # range of the common factor of a face's recipe
NOISE_PROBABILITY = 0.12  # that a unit gains an intensity of 1 or 2 that the expression does not call for


def sample_action_units(expression: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw (8,) intensities 0 to 5, in the order of ``ACTION_UNITS``, of an expression given by its FER-2013 code.

    A dropped jaw (26) always parts the lips (25). The number of draws does not depend on the outcome.
    """
    recipe = RECIPES[EXPRESSIONS[expression]]
    strength = rng.uniform(*STRENGTH)
    fractions = rng.random(len(ACTION_UNITS))
    noisy = rng.random(len(ACTION_UNITS)) < NOISE_PROBABILITY
    extra = rng.integers(1, 3, len(ACTION_UNITS))
    low, high = np.array([recipe.get(unit, (0, 0)) for unit in ACTION_UNITS]).T
    intensities = np.rint(strength * (low + fractions * (high - low))).astype(np.int64)
    intensities = np.minimum(intensities + noisy * extra, MAX_INTENSITY)
    lips, jaw = ACTION_UNITS.index(25), ACTION_UNITS.index(26)
    if intensities[jaw]:
        intensities[lips] = max(intensities[lips], 1)
    return intensities
