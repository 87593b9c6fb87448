"""A plain reading of the public PCL iteration, the baseline of ``pcfrl bench step --compare naive``.

Facts from the public code: three optimiser steps with a backbone pass each, negatives mixed as a (2B, 2B - 2, d)
tensor, and 100 appearance views of the mirror image of each of 10 images, mixed too; the decoder enlarges, then
convolves. Written for this benchmark; none of that code is used. What no reader would do slowly is as in `PCFRL`:
networks, precision, one decoder pass, and batches that lie on the device.
"""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from pcfrl_lightning.functional import cross_covariance_loss, reconstruction_loss
from pcfrl_lightning.functional.alignment import normalize
from pcfrl_lightning.networks import PCFRLNetwork
from pcfrl_lightning.networks.decoder import Decoder, EnlargingConv

POSE_IMAGES, POSE_VIEWS = 10, 100
NOISE, TAU = 0.4, 0.07


def iteration(network: PCFRLNetwork, batch: dict[str, Tensor], dtype: torch.dtype) -> Callable[[], None]:
    """One iteration on a batch of views, which holds ``pose_negatives`` (n, K, 3, S, S) too."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-3)
    device = batch["source"].device.type

    def step() -> None:
        for task in (reconstruction, face, pose):
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                loss = task(network, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def reconstruction(network: PCFRLNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Eq. 1 and the orthogonality of the public code."""
    images = torch.cat([batch["source"], batch["target"]])
    maps = network.backbone(images + NOISE * torch.randn_like(images))
    f_f, f_p = network.face_subnet(maps).flatten(1), network.pose_subnet(maps).flatten(1)
    (one, two), (here, there) = f_f.chunk(2), f_p.chunk(2)
    pairs = [(one, here), (one, there), (two, here), (two, there)]
    decoded = decode(network.decoder, torch.cat([normalize(face + pose) for face, pose in pairs]))
    loss = reconstruction_loss(batch["source"], batch["target"], decoded.unflatten(0, (4, -1)))
    return loss + cross_covariance_loss(one, here) + cross_covariance_loss(two, there)


def decode(decoder: Decoder, features: Tensor) -> Tensor:
    """`Decoder` as it is defined: interpolation, then a convolution of the large map."""
    x = decoder.linear(features)[:, :, None, None]
    for number, block in enumerate(cast(list[EnlargingConv], decoder.blocks)):
        large = F.interpolate(F.relu(x), size=block.size, mode="bilinear")
        x = block.conv(large)
        x = decoder.norms[number](x) if number < len(decoder.norms) else x.tanh()
    return x


def face(network: PCFRLNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Contrast of two face views, negatives of the batch."""
    maps = network.backbone(torch.cat([batch["face_1"], batch["face_2"]]))
    z = network.project_face(network.face_subnet(maps).flatten(1)).float()
    views, images = len(z), len(z) // 2
    others = [[k for k in range(views) if k % images != i % images] for i in range(views)]
    negatives = z[torch.tensor(others, device=z.device)]  # (2B, 2B - 2, d)
    return contrast(z, z.roll(images, 0), negatives)


def pose(network: PCFRLNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Contrast of two pose views of some images, negatives are views of their mirror images."""
    mirrored = batch["pose_negatives"]
    images, count = mirrored.shape[:2]
    views = torch.cat([batch["pose_1"][:images], batch["pose_2"][:images], mirrored.flatten(0, 1)])
    z = network.project_pose(network.pose_subnet(network.backbone(views)).flatten(1)).float()
    own, negatives = z[: 2 * images], z[2 * images :].unflatten(0, (images, count))
    return contrast(own, own.roll(images, 0), negatives.repeat(2, 1, 1))


def contrast(anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """InfoNCE with negatives (n, K, d) that are mixed in pairs, weights Beta(1.6, 1.6)."""
    partner = torch.randperm(negatives.shape[1], device=negatives.device)
    weight = torch.distributions.Beta(1.6, 1.6).sample(negatives.shape[:2]).to(negatives.device).unsqueeze(2)
    mixed = weight * negatives + (1 - weight) * negatives[:, partner]
    positive = F.cosine_similarity(anchors, positives).unsqueeze(1)
    logits = torch.cat([positive, F.cosine_similarity(anchors.unsqueeze(1), mixed, dim=2)], dim=1) / TAU
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
