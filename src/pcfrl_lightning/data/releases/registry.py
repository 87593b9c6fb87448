"""Names of the labelled data sets, as the command line and the evaluation know them."""

from importlib import import_module

from pcfrl_lightning.data.module import FaceData

DATA_SETS: dict[str, str] = {
    "fer2013": "fer2013:FER2013",
    "rafdb": "rafdb:RAFDB",
    "rafdb-compound": "rafdb:RAFDBCompound",
    "affectnet7": "affectnet:AffectNet7",
    "lfw": "lfw:LFW",
    "cplfw": "cplfw:CPLFW",
    "disfa": "disfa:DISFA",
    "300w-lp-aflw2000": "w300lp:W300LP_AFLW2000",
    "bu3dfe": "bu3dfe:BU3DFE",
    "bu3dfe-rendered": "pcl_lists:BU3DFERendered",
    "celeba": "celeba:CelebA",
    "300w": "landmarks300w:Landmarks300W",
    "wflw": "wflw:WFLW",
    "cifar10": "cifar10:CIFAR10",
    "stl10": "stl10:STL10",
    "stl10-unlabeled": "stl10:STL10Unlabeled",
    "listed-expressions": "pcl_lists:ListedExpressions",
    "listed-action-units": "pcl_lists:ListedActionUnits",
    "listed-pairs": "pcl_lists:ListedPairs",
    "pose-arrays": "pose_arrays:PoseArrays",
}
"""Name to `module:class` in `pcfrl_lightning.data`; imported on use."""


def data_class(name: str) -> type[FaceData]:
    """The data module of a name.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    if name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(sorted(DATA_SETS))}")
    module, _, attribute = DATA_SETS[name].partition(":")
    result = getattr(import_module(f"pcfrl_lightning.data.releases.{module}"), attribute)
    assert issubclass(result, FaceData)
    return result
