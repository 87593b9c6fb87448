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
    "ImageTransform": "data.faceset",
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
    "FER2013": "data.releases.fer2013",
    "VoxCeleb": "data.folders.voxceleb",
    "SyntheticFaces": "synthetic.module",
    "AffectNet7": "data.releases.affectnet",
    "BU3DFE": "data.releases.bu3dfe",
    "BU3DFERendered": "data.releases.pcl_lists",
    "CelebA": "data.releases.celeba",
    "CIFAR10": "data.releases.cifar10",
    "CPLFW": "data.releases.cplfw",
    "DISFA": "data.releases.disfa",
    "Landmarks300W": "data.releases.landmarks300w",
    "LFW": "data.releases.lfw",
    "ListedActionUnits": "data.releases.pcl_lists",
    "ListedExpressions": "data.releases.pcl_lists",
    "ListedPairs": "data.releases.pcl_lists",
    "PoseArrays": "data.releases.pose_arrays",
    "RAFDB": "data.releases.rafdb",
    "RAFDBCompound": "data.releases.rafdb",
    "STL10": "data.releases.stl10",
    "STL10Unlabeled": "data.releases.stl10",
    "W300LP_AFLW2000": "data.releases.w300lp",
    "WFLW": "data.releases.wflw",
    "NoCrop": "data.cropping.croppers",
    "UprightCrop": "data.cropping.croppers",
    "LandmarkCrop": "data.cropping.croppers",
    "YuNetCrop": "data.cropping.croppers",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pcfrl_lightning.{_WHERE[name]}"), name)
