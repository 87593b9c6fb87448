"""Frozen features of any encoder: uint8 images in, flat features out, all of an encoder's features from one pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor

from pcfrl_lightning.networks.encoder import Encoder, encoder_identity, load_encoder, untrained_encoder
from pcfrl_lightning.probes.features.handmade import HAND_MADE

Baseline = Literal["random", "lbp", "hog", "pixels"]
Precision = Literal["auto", "float32", "tf32", "bf16"]
PRECISIONS = ("auto", "float32", "tf32", "bf16")
CONCAT = "concat"
"""All features of an encoder side by side."""


class FeatureExtractor(Protocol):
    """Turns images into fixed features.

    Attributes:
        names: of the features.
        precision: in which they are computed, for results.json.
        enlarges: whether images smaller than the evaluation size are enlarged to it first; hand-made features look at
            the pixels there are instead.
    """

    enlarges: bool

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def precision(self) -> str: ...

    def fingerprint(self) -> str:
        """Text that changes whenever the same image could give other features."""
        ...

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, S, S) to float32 (B, D) by feature name."""
        ...


class EncoderFeatures:
    """Features of an `Encoder` that is never trained here.

    Args:
        encoder: any; it is moved to the device.
        device: where the forward pass runs.
        precision: ``float32``, ``tf32`` (float32 with the shorter products of a GPU), ``bf16`` (autocast), or ``auto``:
            bf16 on a GPU, float32 on a CPU.

    Raises:
        ValueError: tf32 without a GPU.
    """

    enlarges = True

    def __init__(self, encoder: Encoder, device: str | torch.device = "cpu", precision: Precision = "auto") -> None:
        self.device = torch.device(device)
        gpu = self.device.type == "cuda"
        if precision == "tf32" and not gpu:
            raise ValueError("model.precision tf32 needs a GPU: use float32 or bf16")
        self.precision = ("bf16" if gpu else "float32") if precision == "auto" else precision
        self.identity = encoder_identity(encoder)
        self.names = tuple(encoder.feature_names)
        self.encoder = encoder.eval().requires_grad_(False)
        self.encoder.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fingerprint(self) -> str:
        """Weights, configuration and precision."""
        return f"encoder {self.identity} {self.precision}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, S, S) to float32 (B, D) by feature name, on the device of the encoder."""
        images = images.to(self.device, non_blocking=True)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with _short_products(self.precision == "tf32"), autocast:
            return {name: value.float() for name, value in self.encoder.features(images).items()}


def check_source(checkpoint: str | None, baseline: str | None, features: Sequence[str]) -> None:
    """Refuse contradictory settings before anything is read.

    Raises:
        ValueError: neither or both of ``checkpoint`` and ``baseline`` (``random`` may have both: it takes the
            architecture from the checkpoint), an unknown baseline, or features that it does not have.
    """
    if checkpoint is None and baseline is None:
        raise ValueError("give model.checkpoint (a .ckpt file) or model.baseline (random, lbp, hog or pixels)")
    if baseline is not None and baseline not in ("random", *HAND_MADE):
        raise ValueError(f"model.baseline must be random, lbp, hog or pixels, got {baseline!r}")
    if not features or len(set(features)) < len(features):
        raise ValueError(f"model.feature must name one or several different features, got {list(features)}")
    if baseline in HAND_MADE and checkpoint is not None:
        raise ValueError(f"give either model.checkpoint or model.baseline, not both: {baseline} needs no checkpoint")
    if baseline in HAND_MADE and tuple(features) not in (("f_s",), (baseline,)):
        shown = ", ".join(features)
        raise ValueError(f"model.feature {shown} is a feature of a network; model.baseline {baseline} has only one")


def make_extractor(
    checkpoint: str | None,
    baseline: Baseline | None,
    device: torch.device,
    precision: Precision = "auto",
    *,
    seed: int = 0,
    weights: str | None = None,
    trust: Sequence[str] = (),
) -> FeatureExtractor:
    """The extractor of a probe; arguments as in `Probe`.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: it is not readable.
    """
    if baseline is not None and baseline != "random":
        return HAND_MADE[baseline]()
    if baseline == "random":
        encoder = untrained_encoder(checkpoint, seed, trust=trust)
    else:
        assert checkpoint is not None
        encoder = load_encoder(checkpoint, trust=trust, weights=weights)
    return EncoderFeatures(encoder, device, precision)


@contextmanager
def _short_products(tf32: bool) -> Iterator[None]:
    """Whether float32 products of a GPU may be TF32; restores what was set before."""
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution
