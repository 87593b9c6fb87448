"""`pcfrl data check NAME ROOT`: is a data set complete, readable and labelled as its authors published it?"""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.quality.unreadable import scan_images
from pcfrl_lightning.data.releases.registry import OFFICIAL, data_class
from pcfrl_lightning.data.releases.release import MissingLabels, missing_collected
from pcfrl_lightning.errors import DataError

_CLASS_KEYS = ("expression", "class")
_SHOWN = 20


class Count(NamedTuple):
    """A number found on disk beside the official one (None where there is none)."""

    what: str
    found: int
    expected: int | None


@dataclass
class Report:
    """What a check found: numbers found and expected; images that a list or a label file names and label files that the
    disk lacks; (image, reason) of undecodable images; errors in lists and labels, with file and line.
    """

    name: str
    root: Path
    counts: list[Count] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    missing_labels: list[str] = field(default_factory=list)
    corrupt: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when nothing is missing, corrupt, wrong or of another number than published."""
        faults = self.missing or self.missing_labels or self.corrupt or self.problems
        return not faults and all(count.expected in (None, count.found) for count in self.counts)

    def __str__(self) -> str:
        lines = [f"{self.name} at {self.root}"]
        if self.counts:
            width = max(len(count.what) for count in self.counts)
            lines.append(f"  {'':{width}}  {'found':>8}  {'official':>9}")
        unknown = "not known" if self.name in OFFICIAL else "-"
        for what, found, expected in self.counts:
            note = "" if expected in (None, found) else f"  differs by {found - (expected or 0):+d}"
            lines.append(f"  {what:{width}}  {found:>8}  {unknown if expected is None else expected:>9}{note}")
        lines += _section("problems", self.problems)
        lines += _section("missing images", self.missing)
        lines += _section("missing label files", self.missing_labels)
        lines += _section("unreadable images", [f"{name} ({reason})" for name, reason in self.corrupt])
        text = "\n".join([*lines, "complete" if self.ok else "NOT complete, see above"])
        return text.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may be in any encoding


def check(name: str, root: str | Path, decode: bool = True, **options: Any) -> Report:
    """Verify a data set of `registry.DATA_SETS` against its published sizes.

    ``decode``: read every image, not the lists and labels only; ``options``: arguments of the data module.  A
    ValueError tells of an unknown name, or an option that the data module refuses.
    """
    data = data_class(name)(root, **options)
    report = Report(name, Path(root))
    counts: dict[str, int] = {}
    splits: dict[str, FaceSet] = {}
    with missing_collected() as missing:
        try:
            if not Path(root).exists():
                raise FileNotFoundError(f"{root} does not exist; give the folder of the data set")
            counts.update(getattr(data, "inventory", dict)())  # what a data set counts beside its splits
            splits = data.build()
            report.problems = data.empty_splits(splits)
        except (DataError, FileNotFoundError) as error:
            report.problems = [str(error)]
    report.problems = [*map(str, missing), *report.problems]
    labels = [each for each in missing if isinstance(each, MissingLabels)]
    report.missing_labels = [name for each in labels for name in each.names]
    absent = dict.fromkeys(name for each in missing if each not in labels for name in each.names)
    report.missing = list(absent)
    for split, built in splits.items():
        faces = built.subset([row for row in range(len(built)) if built.source.name(row) not in absent])
        counts.update(_counts(split, faces))
        unreadable = scan_images(faces.source, range(len(faces)), faces.name) if decode else {}
        for row, reason in unreadable.items():
            image = faces.source.name(row)
            if reason == os.strerror(errno.ENOENT):
                report.missing.append(image)
            else:
                report.corrupt.append((image, reason))
    expected = OFFICIAL.get(name, {})
    shown = {**counts, **expected} if splits else counts
    keys = [key for key in shown if key in expected or "/subject " not in key]
    report.counts = [Count(key, counts.get(key, 0), expected.get(key)) for key in keys]
    return report


def _counts(split: str, faces: FaceSet) -> dict[str, int]:
    """Images of a split, by class, by subject, and pairs by fold."""
    result = {split: len(faces)}
    for key in _CLASS_KEYS:
        if key in faces.labels:
            known = dict(enumerate(faces.class_names.get(key, [])))
            classes, amounts = faces.labels[key].unique(return_counts=True)
            counted = zip(classes.tolist(), amounts.tolist(), strict=True)
            result |= {f"{split}/{known.get(label, label)}": count for label, count in counted if label >= 0}
    if "subject" in faces.labels:
        subjects, amounts = faces.labels["subject"].unique(return_counts=True)
        result |= {f"{split}/subject {s}": n for s, n in zip(subjects.tolist(), amounts.tolist(), strict=True)}
    if faces.pairs is not None:
        folds = faces.pairs.fold.bincount().tolist()
        result |= {f"{split}/pairs": len(faces.pairs.same), f"{split}/same pairs": int(faces.pairs.same.sum())}
        result |= {f"{split}/fold {fold} pairs": amount for fold, amount in enumerate(folds)}
    return result


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    rest = [f"  ... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"{title}: {len(lines)}", *(f"  {line}" for line in lines[:_SHOWN]), *rest]
