"""FaceCycle: faces without their motion, and without their identity, and back."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_reduce_sum, world_size
from pcfrl_lightning.functional.warp import backward_flow, structural_similarity, warp
from pcfrl_lightning.methods.base import Method, channels_last
from pcfrl_lightning.networks.facecycle import FaceCycleNetwork

# weights of the public code; its images have standard deviation 1, ours are in [0, 1], where errors are 0.225 as large
PIXEL, SIMILARITY, SYMMETRY, MARGIN = 1 / 0.225, 5.0, 1.5 / 0.225, 0.1 * 0.225


class Motion(NamedTuple):
    """Of all frames, first and second ones (2 N, ...): ``back``, the flow from the neutral face to the frame; the
    ``neutral`` faces; and the ``loss`` of the motion cycle."""

    back: Tensor
    neutral: Tensor
    loss: Tensor


class FaceCycle(Method):
    """Cycle-consistency of facial motion and identity (Chang, Chen and Chiu, ICCV 2021).

    Motion: a code of the frame gives a flow, along which a generator moves the frame to a neutral face. The neutral
    face of the *other* frame of the person, moved back, has to be the frame. Identity: a second code takes from the
    neutral faces what differs between people, by a re-normalisation of features, which leaves the mean face, and turns
    the mean face back into the neutral one. Both cycles are trained at once, where the public code has two stages; as
    in its second stage the identity cycle gives no gradient to the motion (docs/methods.md: what differs).

    Batches hold ``frame_1`` and ``frame_2``, float (N, 3, S, S), two pictures of one person (``FramePairs``).

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``, of both encoders; default: ``FaceBackbone(width=1.0)``.
        image_size: side of the square views in pixels, at least 16.
        code_dim: length of the codes of motion and identity.
        generator_width: channels of the generators.
        compile_network: compile the parts of the network with ``torch.compile``; default: on a GPU.
    """

    network: FaceCycleNetwork
    views = ("frame_1", "frame_2")

    def __init__(
        self,
        backbone: nn.Module | None = None,
        image_size: int = 64,
        code_dim: int = 256,
        generator_width: int = 64,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        self.network = FaceCycleNetwork(backbone, image_size, code_dim, generator_width)
        self.keep_arguments(self.network)

    def compiled_parts(self) -> list[nn.Module]:
        network = self.network
        return [network.backbone, network.identity_backbone, network.flow, network.generator]

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The motion cycle and the identity cycle, and their statistics."""
        frames = channels_last(torch.cat([batch["frame_1"], batch["frame_2"]]))
        motion, code = self.motion_cycle(frames)
        identity = self.identity_cycle(frames, motion)
        stats = {"motion": motion.loss, "identity": identity, "movement": motion.back.abs().mean()}
        stats["feature_std"] = F.feature_std(F.normalize(code.detach().float()))
        return motion.loss + identity, {name: value.detach() for name, value in stats.items()}

    def motion_cycle(self, frames: Tensor) -> tuple[Motion, Tensor]:
        """De-expression and re-expression of all frames (2 N, 3, S, S), and their motion codes."""
        network = self.network
        code = network.motion_code(network.backbone(frames))
        flow = network.flow(code)
        back = backward_flow(flow)
        neutral = network.generator(frames, flow)
        moved = warp(frames, flow)
        direct = warp(exchanged(moved), back)
        rebuilt = network.generator(exchanged(neutral), back)
        same = network.generator(frames)
        loss = picture_loss(rebuilt, frames) + picture_loss(same, frames) + 1.5 * picture_loss(direct, frames)
        loss = loss + PIXEL * (warp(exchanged(neutral), back) - frames).abs().mean()
        loss = loss + SYMMETRY * (asymmetry(neutral) + 0.5 * asymmetry(moved))
        return Motion(back, neutral, loss), code

    def identity_cycle(self, frames: Tensor, motion: Motion) -> Tensor:
        """De-identity and re-identity of the neutral faces, whose generator and flow are constants here."""
        network, neutral, back = self.network, motion.neutral.detach(), motion.back.detach()
        code = network.identity_code(network.identity_backbone(frames))
        mean = all_reduce_sum(network.renormalizer.de_identify(neutral, code).mean(dim=0)) / world_size()
        restored = network.renormalizer.re_identify(mean.expand_as(neutral), code)
        weights = {name: weight.detach() for name, weight in network.generator.named_parameters()}
        rebuilt = functional_call(network.generator, weights, (restored, back))
        loss = picture_loss(rebuilt, frames) + 0.8 * picture_loss(warp(restored, back), frames)
        loss = loss + PIXEL * ((restored - neutral).abs().mean() + ((mean - neutral).abs() - MARGIN).relu().mean())
        return loss + SYMMETRY * asymmetry(restored)


def exchanged(rows: Tensor) -> Tensor:
    """Each frame's row (2 N, ...) replaced by that of the other frame of the person."""
    return rows.roll(len(rows) // 2, dims=0)


def picture_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error and lack of structural similarity, weighted."""
    return PIXEL * (found - wanted).abs().mean() + SIMILARITY * (1 - structural_similarity(found, wanted))


def asymmetry(faces: Tensor) -> Tensor:
    """Mean absolute difference of faces (B, 3, H, W) and their mirror images: neutral faces look ahead."""
    return (faces - faces.flip(3)).abs().mean()
