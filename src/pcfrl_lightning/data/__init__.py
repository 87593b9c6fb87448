"""Images, labels, views and data modules.  Everything is imported on first use, so that the package stays light."""

from importlib import import_module
from typing import Any

_WHERE = {
    "ArraySource": "sources",
    "ConcatSource": "sources",
    "CorruptImage": "sources",
    "FileSource": "sources",
    "ImageSource": "sources",
    "SubsetSource": "sources",
    "safe_join": "sources",
    "ZipSource": "zips",
    "FaceSet": "faceset",
    "ImageTransform": "faceset",
    "Pairs": "faceset",
    "FaceData": "base",
    "Views": "views",
    "AlbumentationsViews": "augment",
    "LiteralPoseViews": "augment",
    "EpochSampler": "sampler",
    "FaceFolder": "face_folder",
    "FER2013": "fer2013",
    "VoxCeleb": "voxceleb",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
