"""Models of timm and torchvision: as the backbone of a method, and as frozen encoders."""

import sys
from abc import abstractmethod
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self

from pcfrl_lightning.errors import DataError, one_line, require
from pcfrl_lightning.networks.checkpoint import check_weights, load_weights
from pcfrl_lightning.networks.encoder import Encoder


class TimmBackbone(nn.Module):
    """A feature map of a timm model: (B, in_chans, H, W) images in [0, 1] to (B, C, h, w).

    Convolutional networks and vision transformers alike (their tokens come as a map); these take any size that their
    patch size divides. Pretrained models get their images normalised with their own mean and standard deviation.

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
        self.model_name, self.pretrained, self.out_index, self.in_chans = model_name, pretrained, out_index, in_chans
        self.model = _timm_model(
            model_name, pretrained=pretrained, in_chans=in_chans, features_only=True, out_indices=(out_index,)
        )
        self.out_channels: int = self.model.feature_info.channels()[-1]
        self._normalize_as_pretrained(pretrained)

    @classmethod
    def from_description(cls, pretrained: bool = False, **arguments: Any) -> "TimmBackbone":
        """The same architecture and normalisation with random weights, without a download."""
        backbone = cls(**arguments)
        backbone.pretrained = pretrained
        backbone._normalize_as_pretrained(pretrained)
        return backbone

    def forward(self, images: Tensor) -> Tensor:
        x = self.model((images - self.mean) / self.std)[-1]
        channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        return x.permute(0, 3, 1, 2) if channels_last else x

    def _normalize_as_pretrained(self, pretrained: bool) -> None:
        config = self.model.pretrained_cfg if pretrained else {}
        self.register_buffer("mean", _per_channel(config.get("mean", 0.0)), persistent=False)
        self.register_buffer("std", _per_channel(config.get("std", 1.0)), persistent=False)


class TorchvisionBackbone(nn.Module):
    """The last feature map of a convolutional classifier of torchvision, with random weights.

    Args:
        model_name: such as ``resnet18``, ``densenet121`` or ``efficientnet_b0``.

    Raises:
        ValueError: torchvision does not know the model, or it has no map before its pooling.
    """

    def __init__(self, model_name: str = "resnet18") -> None:
        super().__init__()
        from torchvision import models

        self.model_name = model_name
        known = model_name in models.list_models(module=models)
        model = models.get_model(model_name, weights=None) if known else nn.Module()
        names = [name for name, _ in model.named_children()]
        if "features" in names:
            self.body = model.get_submodule("features")
        elif "avgpool" in names:
            self.body = nn.Sequential(OrderedDict(list(model.named_children())[: names.index("avgpool")]))
        else:
            raise ValueError(f"torchvision has no convolutional classifier model_name={model_name!r}")

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


class SmallImageResNet(TorchvisionBackbone):
    """A ResNet of torchvision with a first convolution of 3x3 and stride 1 and no pooling after it, as it is used on
    CIFAR-10 (Chen et al. 2020, appendix B.9): total stride 8, random weights.

    Args:
        model_name: ``resnet18``, ``resnet34`` or ``resnet50``.
    """

    kinds = ("resnet18", "resnet34", "resnet50")

    def __init__(self, model_name: str = "resnet18") -> None:
        require(model_name in self.kinds, f"model_name must be one of {', '.join(self.kinds)}, got {model_name!r}")
        super().__init__(model_name)
        stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        _, norm, relu, _, *layers = self.body.children()
        self.body = nn.Sequential(stem, norm, relu, *layers)


class _Created(NamedTuple):
    """A model without weights and classifier, the names of its classifier layers, and how its images are prepared."""

    model: nn.Module
    classifiers: list[str]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _ForeignEncoder(Encoder):
    """A frozen model of another library; its pooled feature, the input of its classifier, is F_s.

    ImportError if the library is not installed, ValueError if it does not know the model.
    """

    library: str
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model_name: str, mean: list[float] | None = None, std: list[float] | None = None) -> None:
        super().__init__()
        self.model_name = model_name
        self.model, self.classifiers, self.image_size, default_mean, default_std = self._create(model_name)
        self.mean, self.std = mean or list(default_mean), std or list(default_std)
        self.register_buffer("pixel_mean", _per_channel(self.mean), persistent=False)
        self.register_buffer("pixel_std", _per_channel(self.std), persistent=False)

    @property
    def embed_size(self) -> int:
        """That of the library's own preprocessing; some of these models take one size only."""
        return self.image_size

    def encode(self, images: Tensor) -> tuple[Tensor]:
        return (self.model((images - self.pixel_mean) / self.pixel_std),)

    @classmethod
    def pretrained(cls, model_name: str, weights: str | Path | None = None) -> Self:
        """With the weights of a local file, or of the library's own download; see `load_encoder`."""
        encoder = cls(model_name)
        if weights is None:
            try:
                state = encoder._download()
            except Exception as error:  # errors of several libraries, network errors among them
                raise ValueError(
                    f"the weights of {cls.library}:{model_name} could not be downloaded ({one_line(error, 120)}); "
                    "give a file of them with weights=FILE (--weights FILE)"
                ) from error
        else:
            state = load_weights(weights)
        try:
            state = encoder._converted(state)
            expected = {key: value.shape for key, value in encoder.model.state_dict().items()}
            # the classifier is the one part that a feature does not need
            classifiers = tuple(f"{name}." for name in encoder.classifiers)
            state = {key: value for key, value in state.items() if key in expected or not key.startswith(classifiers)}
            check_weights(expected, state)
            encoder.model.load_state_dict(state)
        except Exception as error:  # a library's converter may fail anywhere on a foreign file
            where = weights or "the download"
            raise DataError(f"{where} does not hold {cls.library}:{model_name}: {one_line(error)}") from error
        return encoder

    @abstractmethod
    def _create(self, model_name: str) -> _Created: ...

    @abstractmethod
    def _download(self) -> dict[str, Tensor]: ...

    def _converted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state


class TimmEncoder(_ForeignEncoder):
    """A model of timm, its pooled feature as F_s; vision transformers take any size their patches divide.

    Args:
        model_name: with or without a tag for the weights, such as ``resnet18.a1_in1k``.
        mean: of the pixels per channel in [0, 1], subtracted first; default: what timm says about its weights.
        std: the images are divided by it; default: as above.
    """

    library = "timm"

    def _create(self, model_name: str) -> _Created:
        model = _timm_model(model_name, pretrained=False, num_classes=0)
        config = model.pretrained_cfg
        names = config.get("classifier") or ()
        classifiers = [names] if isinstance(names, str) else list(names)
        return _Created(model, classifiers, config["input_size"][-1], config["mean"], config["std"])

    def _download(self) -> dict[str, Tensor]:
        config: Any = self.model.pretrained_cfg
        require(bool(config.get("hf_hub_id") or config.get("url")), "timm has no weights for this name")
        return dict(_timm_model(self.model_name, pretrained=True, num_classes=0).state_dict())

    def _converted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Layouts of the original projects (DINOv2, CLIP, ...) as timm's own download converts them."""
        convert = getattr(sys.modules[type(self.model).__module__], "checkpoint_filter_fn", None)
        return convert(state, self.model) if convert else state


class TorchvisionEncoder(_ForeignEncoder):
    """A classification model of torchvision, the input of its last linear layer as F_s.

    Args:
        model_name: such as ``resnet18``; its weights are those that torchvision calls ``DEFAULT``.
        mean: as of `TimmEncoder`.
        std: as of `TimmEncoder`.
    """

    library = "torchvision"

    def _create(self, model_name: str) -> _Created:
        from torchvision import models

        require(
            model_name in models.list_models(module=models),
            f"torchvision has no classification model {model_name!r}; look it up with "
            "torchvision.models.list_models(module=torchvision.models)",
        )
        model = models.get_model(model_name, weights=None)
        last = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)][-1:]
        require(bool(last), f"torchvision:{model_name} has no linear classifier to take the input of")
        model.set_submodule(last[0], nn.Identity())
        transforms = models.get_model_weights(model_name)["DEFAULT"].transforms()
        return _Created(model, last, transforms.crop_size[0], transforms.mean, transforms.std)

    def _download(self) -> dict[str, Tensor]:
        from torchvision import models

        return dict(models.get_model_weights(self.model_name)["DEFAULT"].get_state_dict(progress=False))


def _timm_model(model_name: str, **arguments: Any) -> Any:
    """A model of timm, with position embeddings for any image size where it has some."""
    try:
        create_model = import_module("timm").create_model
    except ImportError as error:
        raise ImportError(f"{model_name} needs timm: pip install timm") from error

    def create() -> Any:
        try:
            return create_model(model_name, dynamic_img_size=True, **arguments)
        except TypeError:  # only transformers know the option
            return create_model(model_name, **arguments)

    try:
        # names of hubs and folders would take the architecture from elsewhere
        require(":" not in model_name, "names with a colon are not taken")
        try:
            return create()
        except RuntimeError:
            if torch.get_default_device().type != "meta":
                raise
            with torch.device("cpu"):  # timm up to 1.0.20 asks tensors for values
                return create().to("meta")
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        of_map = f" with out_index={arguments['out_indices'][0]}" if "out_indices" in arguments else ""
        raise ValueError(
            f"timm cannot make model_name={model_name!r}{of_map}: {error}. "
            f"Look it up with timm.list_models('{model_name.split('_')[0]}*')"
        ) from error


def _per_channel(values: float | tuple[float, ...] | list[float]) -> Tensor:
    """(1, C, 1, 1), or a single number as (1, 1, 1, 1)."""
    return torch.as_tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
