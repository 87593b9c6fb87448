"""Backbones of other libraries."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn


class TimmBackbone(nn.Module):
    """A feature map of a timm model: (B, in_chans, H, W) images in [0, 1] to (B, C, h, w).

    Convolutional networks and vision transformers alike (their tokens come as a map). Transformers are asked for
    position embeddings that follow the image size, so that 64, 96 or 128 px work where the patch size divides them.
    Pretrained models get their images normalised with their own mean and standard deviation.

    Args:
        model_name: a name of ``timm.list_models()``, such as ``resnet18`` or ``vit_tiny_patch16_224``.
        pretrained: start from timm's weights (a download) instead of random ones.
        out_index: which of the model's maps to return; -1 is the last (total stride 32 for a ResNet, so -2 keeps a
            4 x 4 map of 64 px images).
        in_chans: channels of the images.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm does not know the model, or the model has no such map.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model_name: str, pretrained: bool = False, out_index: int = -1, in_chans: int = 3) -> None:
        super().__init__()
        self.model_name = model_name
        self.pretrained = pretrained
        self.out_index = out_index
        self.in_chans = in_chans
        self.model = _create(model_name, pretrained, out_index, in_chans)
        self.out_channels: int = self.model.feature_info.channels()[-1]
        config = self.model.pretrained_cfg if pretrained else {}
        self.register_buffer("mean", _per_channel(config.get("mean", 0.0)), persistent=False)
        self.register_buffer("std", _per_channel(config.get("std", 1.0)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) images in [0, 1] to the chosen map."""
        x = self.model((images - self.mean) / self.std)[-1]
        channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        return x.permute(0, 3, 1, 2) if channels_last else x


def _create(model_name: str, pretrained: bool, out_index: int, in_chans: int) -> Any:
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise ImportError("TimmBackbone needs timm: pip install timm") from error
    arguments = {
        "pretrained": pretrained,
        "in_chans": in_chans,
        "features_only": True,
        "out_indices": (out_index,),
    }
    try:
        try:
            return timm.create_model(model_name, dynamic_img_size=True, **arguments)
        except TypeError:  # only transformers know the option
            return timm.create_model(model_name, **arguments)
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        raise ValueError(
            f"timm cannot make the backbone model_name={model_name!r} with out_index={out_index}: {error}. "
            f"Look it up with timm.list_models('{model_name.split('_')[0]}*')"
        ) from error


def _per_channel(values: float | tuple[float, ...]) -> Tensor:
    """(1, C, 1, 1), or a single number as (1, 1, 1, 1)."""
    return torch.as_tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
