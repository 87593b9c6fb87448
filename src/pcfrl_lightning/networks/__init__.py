"""Networks: backbone, subnets, projectors and decoder; encoders, the one way from a file to features."""

from pcfrl_lightning.networks.backbone import FaceBackbone
from pcfrl_lightning.networks.encoder import Encoder, encoder_identity, load_encoder, untrained_encoder
from pcfrl_lightning.networks.external import (
    SmallImageResNet,
    TimmBackbone,
    TimmEncoder,
    TorchvisionBackbone,
    TorchvisionEncoder,
)
from pcfrl_lightning.networks.network import Features, PCFRLNetwork
from pcfrl_lightning.networks.projection import ProjectionNetwork

__all__ = [
    "Encoder",
    "FaceBackbone",
    "Features",
    "PCFRLNetwork",
    "ProjectionNetwork",
    "SmallImageResNet",
    "TimmBackbone",
    "TimmEncoder",
    "TorchvisionBackbone",
    "TorchvisionEncoder",
    "encoder_identity",
    "load_encoder",
    "untrained_encoder",
]
