"""Input of the measurements: rendered faces, and their views."""

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.bench.clock import Clock
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.synthetic.parameters import sample_face
from pcfrl_lightning.synthetic.render import render

_DISTINCT = 64  # pictures rendered; a larger batch repeats them, with other random views


def rendered_faces(count: int, size: int) -> list[np.ndarray]:
    """``count`` faces (size, size, 3) uint8 of different people; at most 64 different ones."""
    faces = [render(sample_face(0, index, identity_id=index), size) for index in range(min(count, _DISTINCT))]
    return [faces[index % len(faces)] for index in range(count)]


def sample_views(views: Views, images: list[np.ndarray], epoch: int) -> dict[str, Tensor]:
    """What the workers of the loader do for a batch: uint8 views (N, 3, S, S)."""
    samples = [views.sample(image, np.random.default_rng([0, epoch, index])) for index, image in enumerate(images)]
    return {
        name: torch.from_numpy(np.stack([sample[name] for sample in samples]).transpose(0, 3, 1, 2).copy())
        for name in samples[0]
    }


def view_batch(count: int, size: int, device: torch.device, repeats: int = 3) -> tuple[dict[str, Tensor], list[float]]:
    """A view batch on the device, and the seconds one process needs to make it, in each repeat.

    The time is that of the default views, done in one worker and one thread, and of the transfer to the device.
    Reading and decoding files is not in it.
    """
    images, views, clock = rendered_faces(count, size), AlbumentationsViews(image_size=size), Clock(device)
    keys = torch.tensor([(0, index) for index in range(count)], device=device)
    generator = torch.Generator(device).manual_seed(0)
    batch: dict[str, Tensor] = {}

    def make() -> None:
        moved = {name: value.to(device) for name, value in sample_views(views, images, epoch=len(batch)).items()}
        batch.update(views.batch(moved, keys, generator))

    make()
    return batch, [clock.time(make) for _ in range(repeats)]
