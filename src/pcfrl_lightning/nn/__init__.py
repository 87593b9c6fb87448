"""Networks: backbone, subnets, projectors and decoder."""

from pcfrl_lightning.nn.backbone import FaceBackbone
from pcfrl_lightning.nn.external import TimmBackbone
from pcfrl_lightning.nn.network import Features, PCFRLNetwork

__all__ = ["FaceBackbone", "Features", "PCFRLNetwork", "TimmBackbone"]
