"""Networks: backbone, subnets, projectors and decoder."""

from pcfrl_lightning.networks.backbone import FaceBackbone
from pcfrl_lightning.networks.external import TimmBackbone
from pcfrl_lightning.networks.network import Features, PCFRLNetwork

__all__ = ["FaceBackbone", "Features", "PCFRLNetwork", "TimmBackbone"]
