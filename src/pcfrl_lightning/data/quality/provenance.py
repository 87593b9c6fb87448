"""What results.json says about the data: which of the released images were read, and with which settings."""

import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from pcfrl_lightning.data.cropping.croppers import DetectedSource
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ConcatSource, FileSource, ImageSource, SubsetSource
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.data.module import FaceData


def describe_data(data: Any, sets: Iterable[FaceSet]) -> dict[str, Any]:
    """Settings of a data module and where its images came from; paths are reduced to their last component.

    Returns its own arguments that are primitives or lists of them (those of every `FaceData` left out); under
    `read_from` the folders and archives of the images of the `sets` that were used, sorted, none where they are not in
    files; and under `faces_found`, where a detector cuts out the faces, see there.
    """
    used = {faces.name: faces for faces in sets}
    settings = {key: getattr(data, key) for key in _own_arguments(type(data)) if hasattr(data, key)}
    shown = {key: _last_component(value) for key, value in settings.items() if _is_plain(value)}
    shown["read_from"] = sorted({place for faces in used.values() for place in places(faces.source)})
    found = {name: each for name, faces in used.items() if (each := faces_found(faces))}
    return {**shown, "faces_found": found} if found else shown


def faces_found(faces: FaceSet, sample: int = 200) -> dict[str, int] | None:
    """`found` and `of`: in how many of up to `sample` evenly spread images the detector finds a face; else None."""
    source, rows = faces.source, np.arange(len(faces))
    while isinstance(source, SubsetSource):
        rows, source = source.indices[rows], source.source
    if not isinstance(source, DetectedSource):
        return None
    looked_at = rows[np.linspace(0, len(rows) - 1, min(sample, len(rows))).round().astype(int)].tolist()
    return {"found": sum(map(source.has_face, looked_at)), "of": len(looked_at)}


def places(source: ImageSource) -> set[str]:
    """Names of the folders and archives that a source reads."""
    if isinstance(source, FileSource):
        return {os.path.basename(os.path.abspath(source.root))}
    if isinstance(source, ZipSource):
        return {path.name for path in source.zip_paths}
    if isinstance(source, ConcatSource):
        return set().union(*map(places, source.sources))
    inner = getattr(source, "source", None)
    return places(inner) if isinstance(inner, ImageSource) else set()


def _own_arguments(kind: type) -> list[str]:
    """Arguments of a data module and its bases, without those that every `FaceData` has."""
    bases = [base for base in kind.__mro__ if issubclass(base, L.LightningDataModule)]
    given = [each for base in bases for each in inspect.signature(base).parameters.values()]
    named = [each.name for each in given if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    return [name for name in dict.fromkeys(named) if name not in inspect.signature(FaceData).parameters]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | Path | None)


def _last_component(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_last_component(item) for item in value]
    absolute = isinstance(value, str) and os.path.isabs(value)
    return Path(value).name if absolute or isinstance(value, Path) else value
