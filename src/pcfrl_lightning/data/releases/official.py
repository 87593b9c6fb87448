"""Official sizes of the data sets, which `pcfrl data check` compares with.

Keys: `<split>` images, `<split>/<class>`, `<split>/pairs`, `<split>/same pairs`, `<split>/fold <k> pairs`,
`<split>/subject <k>` and whatever a data module's `inventory` counts.  None: there is no published number at hand.
"""

from pcfrl_lightning.data.releases.disfa_labels import PARTS

_COMPOUND = (
    "happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised", "sadly disgusted",
    "fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted", "disgustedly surprised",
)  # fmt: skip
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_RAFDB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
_FER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
_BU3DFE = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_300W_LP = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}


def _by_class(split: str, classes: tuple[str, ...], counts: list[int]) -> dict[str, int]:
    return {split: sum(counts), **{f"{split}/{name}": count for name, count in zip(classes, counts, strict=True)}}


def _unknown(classes: tuple[str, ...]) -> dict[str, int | None]:
    return {f"{split}/{name}": None for split in ("train", "test") for name in classes}


def _pairs(images: int | None) -> dict[str, int | None]:
    folds = {f"test/fold {fold} pairs": 600 for fold in range(10)}
    return {"test": images, "test/pairs": 6000, "test/same pairs": 3000, **folds}


OFFICIAL: dict[str, dict[str, int | None]] = {
    "fer2013": {
        **_by_class("train", _FER, [3995, 436, 4097, 7215, 4830, 3171, 4965]),
        **_by_class("val", _FER, [467, 56, 496, 895, 653, 415, 607]),
        **_by_class("test", _FER, [491, 55, 528, 879, 594, 416, 626]),
    },
    "rafdb": {
        **_by_class("train", _RAFDB, [1290, 281, 717, 4772, 1982, 705, 2524]),
        **_by_class("test", _RAFDB, [329, 74, 160, 1185, 478, 162, 680]),
    },
    "rafdb-compound": {"train": 3162, "test": 792, **_unknown(_COMPOUND)},
    "affectnet7": {
        **_by_class("train", _AFFECTNET, [74874, 134415, 25459, 14090, 6378, 3803, 24882]),
        **_by_class("test", _AFFECTNET, [500] * 7),
    },
    "lfw": _pairs(7701),
    "cplfw": _pairs(None),
    "disfa": {
        "test": 130814,
        **{f"test/subject {int(name[2:])}": 4844 if name == "SN010" else 4845 for part in PARTS for name in part},
    },
    "300w-lp-aflw2000": {
        "300W-LP": 122450,
        **{f"300W-LP/{part}{flip}": count for part, count in _300W_LP.items() for flip in ("", "_Flip")},
        "AFLW2000": 2000,
        "test": 1969,
    },
    "bu3dfe": {
        **_by_class("train", (*_BU3DFE, "neutral"), [360] * 6 + [90]),
        **_by_class("test", (*_BU3DFE, "neutral"), [40] * 6 + [10]),
    },
    "bu3dfe-rendered": {"train": 14112, "test": 6264},
    "celeba": {"train": 162770, "val": 19867, "test": 19962},
    "300w": {"train": 3148, "test": 689},
    "wflw": {"train": 7500, "test": 2500},
    "cifar10": {**_by_class("train", _CIFAR10, [5000] * 10), **_by_class("test", _CIFAR10, [1000] * 10)},
    "stl10": {**_by_class("train", _STL10, [500] * 10), **_by_class("test", _STL10, [800] * 10)},
    "stl10-unlabeled": {"train": 100000},
}
