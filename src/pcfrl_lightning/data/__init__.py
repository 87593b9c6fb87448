"""Images, labels, views and data modules.  Everything is imported on first use, so that the package stays light."""

from importlib import import_module
from typing import Any

_NAMES = {
    "data.cropping.croppers": "LandmarkCrop NoCrop UprightCrop YuNetCrop",
    "data.faceset": "FaceSet Pairs",
    "data.folders.labelled": "LabelledFolder",
    "data.folders.unlabelled": "FaceFolder",
    "data.folders.voxceleb": "VoxCeleb",
    "data.images.sources": "ArraySource ConcatSource CorruptImage FileSource ImageSource SubsetSource inside",
    "data.images.zips": "ZipSource",
    "data.module": "FaceData",
    "data.sampler": "EpochSampler",
    "data.views.appearance": "Appearance",
    "data.views.auto": "AutoViews",
    "data.views.base": "Views",
    "data.views.cpu": "AlbumentationsViews LiteralPoseViews",
    "data.views.device": "DeviceViews",
    "data.views.mirrored": "MirroredViews",
    "data.views.pairs": "FramePairs",
    "data.views.pcl": "PCLViews",
    "data.views.two": "TwoViews",
    "synthetic.module": "SyntheticFaces",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"pcfrl_lightning.{_WHERE[name]}"), name)
    if not name.startswith("_"):  # a published data set: they need no line here
        for kind in import_module("pcfrl_lightning.data.releases.registry").DATA_SETS.values():
            if kind.__name__ == name:
                return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
