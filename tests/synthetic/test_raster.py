"""The z-buffer against a slow loop over triangles and pixels."""

import numpy as np
import pytest

from pcfrl_lightning.synthetic.raster import rasterise


def _slow(points, depth, triangles, two_sided, size):
    """Nearest depth of each pixel centre (-inf where nothing is), one triangle and one pixel at a time."""
    nearest = np.full((size, size), -np.inf)
    for corners, both in zip(triangles, two_sided, strict=True):
        a, b, c = points[corners].astype(float)
        area = (b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]
        if area == 0 or (area > 0 and not both):
            continue
        for row in range(size):
            for column in range(size):
                p = np.array([column + 0.5, row + 0.5])
                w1 = ((p - a)[0] * (c - a)[1] - (p - a)[1] * (c - a)[0]) / area
                w2 = ((b - a)[0] * (p - a)[1] - (b - a)[1] * (p - a)[0]) / area
                if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                    z = np.array([1 - w1 - w2, w1, w2]) @ depth[corners]
                    nearest[row, column] = max(nearest[row, column], z)
    return nearest


@pytest.mark.parametrize(("size", "spread"), [(16, 3.0), (16, 8.0), (24, 30.0)])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_loop(size, spread, seed):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, size, (30, 1, 2))
    points = (centers + rng.normal(0, spread, (30, 3, 2))).reshape(-1, 2).astype(np.float32)
    depth = rng.uniform(-1, 1, 90).astype(np.float32)
    triangles = np.arange(90).reshape(30, 3)
    two_sided = rng.random(30) < 0.5
    found = rasterise(points, depth, triangles, two_sided, size)
    corner = depth[triangles[found.triangle]]
    z = corner[:, 0] + found.weight_1 * (corner[:, 1] - corner[:, 0]) + found.weight_2 * (corner[:, 2] - corner[:, 0])
    picture = np.full(size * size, -np.inf)
    picture[found.pixel] = z
    expected = _slow(points, depth, triangles, two_sided, size).ravel()
    assert (np.isfinite(picture) == np.isfinite(expected)).all()
    covered = np.isfinite(expected)
    np.testing.assert_allclose(picture[covered], expected[covered], atol=2e-3)
    assert len(np.unique(found.pixel)) == len(found.pixel)


def test_nothing_in_view():
    points = np.array([[50, 50], [60, 50], [50, 60]], np.float32)
    found = rasterise(points, np.zeros(3, np.float32), np.array([[0, 1, 2]]), np.array([True]), 16)
    assert len(found.pixel) == 0


def test_neighbouring_triangles_leave_no_gap():
    points = np.array([[1.3, 1.7], [14.2, 2.1], [1.9, 13.8], [13.6, 14.4]], np.float32)
    triangles = np.array([[0, 2, 1], [1, 2, 3]])
    found = rasterise(points, np.zeros(4, np.float32), triangles, np.array([False, False]), 16)
    covered = np.zeros(256, bool)
    covered[found.pixel] = True
    assert covered.reshape(16, 16)[3:13, 3:13].all()
