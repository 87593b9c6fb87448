"""Self-supervised methods, a LightningModule each."""

from pcfrl_lightning.methods.pcfrl import PCFRL

__all__ = ["PCFRL"]
