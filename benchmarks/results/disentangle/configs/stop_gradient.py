"""Readings of the PDD in which one side of a loss is held fixed, for the runs of this folder."""

from torch import Tensor

from pcfrl_lightning import PCFRL
from pcfrl_lightning.methods.orthogonality import Orthogonality, PerSampleOrthogonality


class FaceFixedInReconstruction(PCFRL):
    """Eq. 1 does not train F_f through the decoder: what the reconstruction lacks must come from F_p."""

    def reconstruction(self, batch: dict[str, Tensor], f_f: Tensor, f_p: Tensor) -> Tensor:
        return super().reconstruction(batch, f_f.detach(), f_p)


class FaceFixedInOrthogonality(Orthogonality):
    """Eq. 2 moves F_p alone away from F_f."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = PerSampleOrthogonality()

    def forward(self, face: Tensor, pose: Tensor) -> Tensor:
        return self.reading(face.detach(), pose)
