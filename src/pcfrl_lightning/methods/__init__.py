"""Self-supervised methods, a LightningModule each."""

from pcfrl_lightning.methods.base import Method
from pcfrl_lightning.methods.facecycle import FaceCycle
from pcfrl_lightning.methods.moco import MoCo
from pcfrl_lightning.methods.nnclr import NNCLR
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.methods.pcl_public import PCLThreeSteps
from pcfrl_lightning.methods.simclr import SimCLR
from pcfrl_lightning.methods.simsiam import SimSiam
from pcfrl_lightning.methods.snclr import SNCLR
from pcfrl_lightning.methods.swav import SwAV

__all__ = ["NNCLR", "PCFRL", "SNCLR", "FaceCycle", "Method", "MoCo", "PCLThreeSteps", "SimCLR", "SimSiam", "SwAV"]
