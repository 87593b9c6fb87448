"""A residual network for images of 32 pixels."""

from torch import Tensor, nn

from pcfrl_lightning.errors import require

KINDS = ("resnet18", "resnet34", "resnet50")


class SmallImageResNet(nn.Module):
    """A ResNet of torchvision with a first convolution of 3x3 and stride 1 and no pooling after it, as it is used on
    CIFAR-10 (Chen et al. 2020, appendix B.9): total stride 8, random weights.

    Args:
        model_name: ``resnet18``, ``resnet34`` or ``resnet50``.

    Raises:
        ValueError: another name.
    """

    def __init__(self, model_name: str = "resnet18") -> None:
        super().__init__()
        from torchvision import models

        require(model_name in KINDS, f"model_name must be one of {', '.join(KINDS)}, got {model_name!r}")
        self.model_name = model_name
        model = models.get_model(model_name, weights=None)
        stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        layers = [getattr(model, f"layer{number}") for number in range(1, 5)]
        self.body = nn.Sequential(stem, model.bn1, model.relu, *layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, C, H / 8, W / 8)."""
        features: Tensor = self.body(images)
        return features
