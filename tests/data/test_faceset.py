import numpy as np
import pytest
import torch

from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.errors import DataError

IMAGES = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
PAIRS = Pairs(torch.tensor([0, 1, 2]), torch.tensor([3, 2, 0]), torch.tensor([True, False, True]), torch.arange(3))


def make(**options) -> FaceSet:
    options = {"labels": {"identity": torch.arange(4)}, "pairs": PAIRS, **options}
    return FaceSet(ArraySource(IMAGES), **options)


def test_image_is_rgb():
    faces = make()
    assert (len(faces), faces.image(2).shape) == (4, (6, 6, 3))
    np.testing.assert_array_equal(faces[2][..., 1], IMAGES[2])
    assert len(list(faces)) == 4


def test_subset_keeps_images_labels_and_pairs_together():
    part = make().subset([2, 0, 3])
    assert part.labels["identity"].tolist() == [2, 0, 3]
    np.testing.assert_array_equal(part.image(0), make().image(2))
    assert [field.tolist() for field in part.pairs] == [[1, 0], [2, 1], [True, True], [0, 2]]


def test_fingerprint_covers_images_labels_and_pairs():
    variants = [
        make(),
        make(labels={"identity": torch.tensor([0, 1, 2, 4])}),
        make(labels={"subject": torch.arange(4)}),
        make(labels={"identity": torch.arange(4).int()}),
        make(pairs=None),
        make().subset([0, 1, 2]),
        FaceSet(ArraySource(IMAGES + np.uint8(1))),
    ]
    assert len({faces.fingerprint() for faces in variants}) == len(variants)
    assert make().fingerprint() == make(name="other", class_names={"class": ["a"]}).fingerprint()


def test_rows_must_match():
    with pytest.raises(DataError, match="'identity' has 3 rows for 4 images"):
        make(labels={"identity": torch.arange(3)})
    with pytest.raises(DataError, match=r"rows outside 0\.\.3"):
        make(pairs=PAIRS._replace(first=torch.tensor([0, 1, 4])))
