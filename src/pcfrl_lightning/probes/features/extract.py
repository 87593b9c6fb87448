"""Frozen features of a network: uint8 images in, flat features out, F_s, F_f and F_p from one forward pass."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from pcfrl_lightning.networks.encoder import Encoder, encoder_identity, load_encoder, untrained_encoder

FeatureName = Literal["f_s", "f_f", "f_p"]
FeatureChoice = Literal["f_s", "f_f", "f_p", "concat"]
NETWORK_FEATURES: tuple[FeatureName, ...] = ("f_s", "f_f", "f_p")


class FeatureExtractor(Protocol):
    """Turns images into fixed features.

    Attributes:
        enlarges: whether images smaller than the evaluation size are enlarged to it first; hand-made features look at
            the pixels there are instead.
    """

    enlarges: bool

    def dim(self, image_size: int) -> dict[str, int]:
        """Length of each feature for images of ``image_size`` x ``image_size``, by feature name."""
        ...

    def fingerprint(self) -> str:
        """Text that changes whenever the same image could give other features."""
        ...

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, S, S) to float32 (B, D) by feature name."""
        ...


class FrozenNetwork:
    """Features of an encoder that is never trained here.

    Args:
        network: the network.
        identity: text that stands for its weights.
        device: where the forward pass runs.
        bf16: run it under bf16 autocast; ``None`` means yes on a GPU, no on a CPU.
    """

    enlarges = True

    def __init__(
        self, network: Encoder, identity: str, device: str | torch.device = "cpu", bf16: bool | None = None
    ) -> None:
        self.device = torch.device(device)
        self.bf16 = self.device.type == "cuda" if bf16 is None else bf16
        self.identity = identity
        self.network = network.eval().requires_grad_(False)
        self.network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def dim(self, image_size: int) -> dict[str, int]:
        """Length of each feature, found with one forward pass on zeros."""
        features = self(torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8))
        return {name: value.shape[1] for name, value in features.items()}

    def fingerprint(self) -> str:
        """The weights and the precision of the forward pass."""
        return f"network {self.identity} {'bf16' if self.bf16 else 'float32'}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, S, S) to float32 f_s, f_f, f_p on the device of the network."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.network.features(images)


class NetworkFeatures(FrozenNetwork):
    """Features of a trained network, from the path of its checkpoint alone.

    Args:
        checkpoint: a file written by ``pcfrl fit`` or ``pcfrl import-pcl``.
        device: where the forward pass runs.
        bf16: see `FrozenNetwork`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no readable checkpoint.
    """

    def __init__(self, checkpoint: str, device: str | torch.device = "cpu", bf16: bool | None = None) -> None:
        encoder = load_encoder(checkpoint)
        super().__init__(encoder, encoder_identity(encoder), device, bf16)


class RandomNetwork(FrozenNetwork):
    """The untrained network: the floor of every table of results.

    Args:
        checkpoint: take the architecture (not the weights) from here; without it, the paper's backbone at width 1.0.
        seed: of the initial weights.
        device: where the forward pass runs.
        bf16: see `FrozenNetwork`.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        bf16: bool | None = None,
    ) -> None:
        encoder = untrained_encoder(checkpoint, seed)
        super().__init__(encoder, encoder_identity(encoder), device, bf16)
