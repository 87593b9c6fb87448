"""Frozen features of any encoder: uint8 images in, flat features out, all of an encoder's features from one pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.networks.encoder import Encoder, encoder_identity

Precision = Literal["auto", "float32", "tf32", "bf16"]


class FeatureExtractor(Protocol):
    """Turns images, uint8 (B, 3, S, S), into fixed features, float32 (B, D) by name."""

    names: tuple[str, ...]
    precision: str  # for results.json
    device: torch.device  # where the features come out
    enlarges: bool  # images below the evaluation size first; hand-made features look at the pixels there are instead

    def fingerprint(self) -> str:
        """Text that changes whenever the same image could give other features."""
        ...

    def __call__(self, images: Tensor) -> dict[str, Tensor]: ...


def native_bf16() -> bool:
    """Whether the processor multiplies bf16 numbers itself (AVX-512 BF16 or AMX; x86 only).

    Others, and builds of PyTorch without oneDNN, take longer in bf16 than in float32. PyTorch tells it by functions
    that it does not document, so where these are not there, the flags that Linux lists are read; False where neither is
    known.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    asked = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    if None not in asked:
        return any(bool(ask()) for ask in asked if ask is not None)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def chosen_precision(asked: Precision, device: torch.device) -> str:
    """``float32``, ``tf32`` or ``bf16``: what ``auto`` means on this device.

    Raises:
        UsageError: ``tf32`` on a CPU.
    """
    if asked == "tf32" and device.type != "cuda":
        raise UsageError("model.precision tf32 needs a GPU: use float32 or bf16")
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" or (device.type == "cpu" and native_bf16()) else "float32"


class EncoderFeatures:
    """Features of an `Encoder`, which is moved to the device and never trained here.

    ``precision`` is ``float32``, ``tf32`` (float32 with the shorter products of a GPU), ``bf16`` (autocast), or
    ``auto``: bf16 on a GPU and on a CPU that has bf16 products (`native_bf16`), else float32.
    """

    enlarges = True

    def __init__(self, encoder: Encoder, device: str | torch.device = "cpu", precision: Precision = "auto") -> None:
        self.device = torch.device(device)
        self.precision: str = chosen_precision(precision, self.device)
        self.identity = encoder_identity(encoder)
        self.names = tuple(encoder.feature_names)
        self.encoder = encoder.eval().requires_grad_(False)
        self.encoder.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fingerprint(self) -> str:
        return f"encoder {self.identity} {self.precision}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        images = images.to(self.device, non_blocking=True)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with _short_products(self.precision == "tf32"), autocast:
            return {name: value.float() for name, value in self.encoder.features(images).items()}


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
