"""Self-supervised methods, a LightningModule each."""

from pcfrl_lightning.methods.base import Method
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.methods.simclr import SimCLR

__all__ = ["PCFRL", "Method", "SimCLR"]
