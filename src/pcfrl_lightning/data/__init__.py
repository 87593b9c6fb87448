"""Images, labels, views and data modules.  Everything is imported on first use, so that the package stays light."""

from importlib import import_module
from typing import Any

_WHERE = {
    "ArraySource": "data.images.sources",
    "ConcatSource": "data.images.sources",
    "CorruptImage": "data.images.sources",
    "FileSource": "data.images.sources",
    "ImageSource": "data.images.sources",
    "SubsetSource": "data.images.sources",
    "inside": "data.images.sources",
    "ZipSource": "data.images.zips",
    "FaceSet": "data.faceset",
    "Pairs": "data.faceset",
    "FaceData": "data.module",
    "Views": "data.views.base",
    "AlbumentationsViews": "data.views.cpu",
    "Appearance": "data.views.appearance",
    "LiteralPoseViews": "data.views.cpu",
    "PCLViews": "data.views.pcl",
    "EpochSampler": "data.sampler",
    "FaceFolder": "data.folders.unlabelled",
    "LabelledFolder": "data.folders.labelled",
    "VoxCeleb": "data.folders.voxceleb",
    "SyntheticFaces": "synthetic.module",
    "NoCrop": "data.cropping.croppers",
    "UprightCrop": "data.cropping.croppers",
    "LandmarkCrop": "data.cropping.croppers",
    "YuNetCrop": "data.cropping.croppers",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"pcfrl_lightning.{_WHERE[name]}"), name)
    if not name.startswith("_"):  # a published data set: they need no line here
        for kind in import_module("pcfrl_lightning.data.releases.registry").DATA_SETS.values():
            if kind.__name__ == name:
                return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
