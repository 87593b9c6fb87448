"""Which features a probe uses: a trained network, the untrained one, or hand-made ones."""

from typing import Literal

import torch

from pcfrl_lightning.probes.features.extract import (
    NETWORK_FEATURES,
    FeatureChoice,
    FeatureExtractor,
    NetworkFeatures,
    RandomNetwork,
)
from pcfrl_lightning.probes.features.handmade import HoGFeatures, LBPFeatures, PixelFeatures

Baseline = Literal["random", "lbp", "hog", "pixels"]
HAND_MADE = {"lbp": LBPFeatures, "hog": HoGFeatures, "pixels": PixelFeatures}


def check_source(checkpoint: str | None, baseline: str | None, feature: str) -> None:
    """Refuse contradictory settings before anything is read.

    Raises:
        ValueError: neither or both of ``checkpoint`` and ``baseline`` (``random`` may have both: it takes the
            architecture from the checkpoint), an unknown name, or a network feature of a hand-made baseline.
    """
    if checkpoint is None and baseline is None:
        raise ValueError("give model.checkpoint (a .ckpt file) or model.baseline (random, lbp, hog or pixels)")
    if baseline is not None and baseline not in ("random", *HAND_MADE):
        raise ValueError(f"model.baseline must be random, lbp, hog or pixels, got {baseline!r}")
    if feature not in (*NETWORK_FEATURES, "concat"):
        raise ValueError(f"model.feature must be f_s, f_f, f_p or concat, got {feature!r}")
    if baseline in HAND_MADE and checkpoint is not None:
        raise ValueError(f"give either model.checkpoint or model.baseline, not both: {baseline} needs no checkpoint")
    if baseline in HAND_MADE and feature != "f_s":
        raise ValueError(f"model.feature {feature} is a feature of a network; model.baseline {baseline} has only one")


def make_extractor(
    checkpoint: str | None, baseline: Baseline | None, device: torch.device, bf16: bool | None, seed: int
) -> FeatureExtractor:
    """The extractor of a probe; arguments as in `FeatureProbe`.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: it is not readable.
    """
    if baseline == "random":
        return RandomNetwork(checkpoint, seed, device, bf16)
    if baseline is not None:
        return HAND_MADE[baseline]()
    assert checkpoint is not None
    return NetworkFeatures(checkpoint, device, bf16)


def feature_names(baseline: Baseline | None, feature: FeatureChoice) -> list[str]:
    """Names of the features that are put side by side."""
    if baseline in HAND_MADE:
        return [str(baseline)]
    return list(NETWORK_FEATURES) if feature == "concat" else [feature]
