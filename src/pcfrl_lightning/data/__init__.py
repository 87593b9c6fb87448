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
    "Appearance": "appearance",
    "LiteralPoseViews": "augment",
    "PCLViews": "pcl_views",
    "EpochSampler": "sampler",
    "FaceFolder": "face_folder",
    "FER2013": "fer2013",
    "VoxCeleb": "voxceleb",
    "SyntheticFaces": "synthetic_faces",
    "AffectNet7": "affectnet",
    "BU3DFE": "bu3dfe",
    "BU3DFERendered": "pcl_lists",
    "CelebA": "celeba",
    "CIFAR10": "cifar10",
    "CPLFW": "cplfw",
    "DISFA": "disfa",
    "Landmarks300W": "landmarks300w",
    "LFW": "lfw",
    "ListedActionUnits": "pcl_lists",
    "ListedExpressions": "pcl_lists",
    "ListedPairs": "pcl_lists",
    "PoseArrays": "pose_arrays",
    "RAFDB": "rafdb",
    "RAFDBCompound": "rafdb",
    "STL10": "stl10",
    "STL10Unlabeled": "stl10",
    "W300LP_AFLW2000": "w300lp",
    "WFLW": "wflw",
    "NoAlignment": "alignment",
    "LandmarkAlign": "alignment",
    "LandmarkCrop": "alignment",
    "YuNetCrop": "alignment",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
