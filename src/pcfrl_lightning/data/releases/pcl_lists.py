"""The derived list forms that the public PCL code reads, for users who already have such lists."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, read_rows
from pcfrl_lightning.data.releases.base import Release
from pcfrl_lightning.data.releases.bu3dfe import CLASSES as EXPRESSIONS
from pcfrl_lightning.data.releases.pairs import FOLDS, NamedPair, pair_set, spread_over_folds
from pcfrl_lightning.data.releases.release import FolderImages, require_images
from pcfrl_lightning.errors import DataError


class TwoLists(Release):
    """Splits `train` and `test` from one list file each, no image in both; a subclass says what a line holds.

    Args:
        root: folder that the paths are relative to.
        train_list: list of the train split, absolute or relative to the root.
        test_list: list of the test split.
        kwargs: see `Release`.
    """

    side = 100
    separator: ClassVar[str | None] = None
    columns: ClassVar[int | None] = None

    def __init__(
        self,
        root: str | Path,
        train_list: str | Path = "train_list.txt",
        test_list: str | Path = "test_list.txt",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.train_list, self.test_list = Path(train_list), Path(test_list)

    def build(self) -> dict[str, FaceSet]:
        images, once, splits = FolderImages(self.root), Once(), {}
        paths = [self.root / listing for listing in (self.train_list, self.test_list)]
        train, test = (list(read_rows(path, self.separator, self.columns)) for path in paths)
        for split, rows in (("train", train), ("test", test)):
            names = [once.add(row, row.relative(0)) for row in rows]
            require_images(images, zip(rows, names, strict=True))
            splits[split] = self.faces(split, images.source(names), self._labels(rows, train[0]))
        return splits

    @abstractmethod
    def _labels(self, rows: Sequence[Row], model: Row) -> dict[str, Any]:
        """Labels by name, one row per line; `model` is the first line of the train list."""


class ListedExpressions(TwoLists):
    """`<path> <label>` per line (RAF-DB, FER-2013), the path with blanks or without; label `expression`.

    Args:
        root: folder that the paths are relative to.
        classes: number of classes.
        first_label: number of the first class in the lists: 0, or 1 for lists in RAF-DB's own numbers.
        kwargs: see `TwoLists`.
    """

    name = "listed-expressions"
    columns: ClassVar[int | None] = 2

    def __init__(self, root: str | Path, classes: int = 7, first_label: int = 0, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.classes, self.first_label = classes, first_label

    def _labels(self, rows: Sequence[Row], model: Row) -> dict[str, Any]:
        first, last = self.first_label, self.first_label + self.classes - 1
        return {"expression": [row.integer(1, first, last) - first for row in rows]}


class ListedActionUnits(TwoLists):
    """`<path>,<0|1>,<0|1>,...` per line (DISFA, BP4D), one number per unit in every line; label `action_units`."""

    name = "listed-action-units"
    separator: ClassVar[str | None] = ","

    def _labels(self, rows: Sequence[Row], model: Row) -> dict[str, Any]:
        model.text(1)
        for row in rows:
            if len(row) != len(model):
                row.fail(f"{len(row) - 1} action units, but {model.path}:{model.number} has {len(model) - 1}")
        values = [[row.integer(column, 0, 1) for column in range(1, len(row))] for row in rows]
        return {"action_units": torch.tensor(values, dtype=torch.float32)}


class BU3DFERendered(TwoLists):
    """`<path>,<expression>,<pose>` per line: images rendered from BU-3DFE's models; labels `expression` (0..6) and
    `pose_class`.

    The paper uses 14,112 train and 6,264 test images; their list is not public.
    """

    name = "bu3dfe-rendered"
    separator: ClassVar[str | None] = ","
    official: ClassVar = {"train": 14112, "test": 6264}

    def _labels(self, rows: Sequence[Row], model: Row) -> dict[str, Any]:
        for row in rows:
            row.expect(3)
        expressions = [row.integer(1, 0, len(EXPRESSIONS) - 1) for row in rows]
        return {"expression": expressions, "pose_class": [row.integer(2, 0, 10**4) for row in rows]}


class ListedPairs(Release):
    """`<image A> <image B> <label>` per line (LFW, CPLFW); label above 0 = same person; split `test` with ten folds.

    The list has no folds: fold k takes the k-th tenth of the same-person pairs and the k-th tenth of the others, so
    there must be ten pairs of each kind at least.

    Args:
        root: folder that the paths are relative to.
        pairs: list file, absolute or relative to the root.
        kwargs: see `Release`.
    """

    name = "listed-pairs"
    side = 128

    def __init__(self, root: str | Path, pairs: str | Path = "pairs.txt", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.pairs = Path(pairs)

    def build(self) -> dict[str, FaceSet]:
        listing = self.root / self.pairs
        rows = list(read_rows(listing))
        for row in rows:
            if len(row) > 3:
                row.fail(f"found {len(row)} fields; two images and a label are three, and paths must have no blanks")
            row.expect(3)
        pairs = [NamedPair(row.relative(0), row.relative(1), row.number_at(2) > 0, 0, row, row) for row in rows]
        same = sum(pair.same for pair in pairs)
        if min(same, len(pairs) - same) < FOLDS:
            problem = f"{same} of {len(pairs)} pairs are of one person; {FOLDS} folds need {FOLDS} of each kind"
            raise DataError(f"{listing}: {problem}")
        return {"test": pair_set(self, spread_over_folds(pairs), FolderImages(self.root))}
