"""The two readings of Eq. 2 as injectable objects."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from pcfrl_lightning.distributed import all_gather
from pcfrl_lightning.functional import cross_covariance_loss, orthogonality_loss


class Orthogonality(nn.Module, ABC):
    """Penalty on what the face and the pose features share: ``(N, D), (N, D) -> scalar``."""

    @abstractmethod
    def forward(self, f_f: Tensor, f_p: Tensor) -> Tensor:
        """Return the penalty, averaged over the global batch."""


class PerSampleOrthogonality(Orthogonality):
    """Eq. 2: the squared dot product of each image's L2-normalised face and pose features, averaged over images."""

    def forward(self, f_f: Tensor, f_p: Tensor) -> Tensor:
        return orthogonality_loss(f_f, f_p)


class CrossCovariance(Orthogonality):
    """The public PCL code's variant: squared cross-covariance of the batch-centred features (method 3)."""

    def forward(self, f_f: Tensor, f_p: Tensor) -> Tensor:
        return cross_covariance_loss(all_gather(f_f), all_gather(f_p))
