"""Input of the measurements: rendered faces, and their views."""

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.bench.clock import Clock
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.synthetic.parameters import sample_face
from pcfrl_lightning.synthetic.render import render

_DISTINCT = 64  # pictures rendered; a larger batch repeats them, with other random views


def rendered_faces(count: int, size: int) -> list[np.ndarray]:
    """``count`` faces (size, size, 3) uint8 of different people; at most 64 different ones."""
    faces = [render(sample_face(0, index, identity_id=index), size) for index in range(min(count, _DISTINCT))]
    return [faces[index % len(faces)] for index in range(count)]


def view_batch(count: int, size: int, device: torch.device, repeats: int = 3) -> tuple[dict[str, Tensor], list[float]]:
    """A view batch on the device, and the seconds one process needs to make it, in each repeat.

    The time is that of the default views, done in one worker and one thread, and of the transfer to the device.
    Reading and decoding files is not in it.
    """
    images, views, clock = rendered_faces(count, size), AlbumentationsViews(image_size=size), Clock(device)
    batch: dict[str, Tensor] = {}

    def make() -> None:
        batch.update(views.make(images, [(len(batch), index) for index in range(count)], device=device))

    make()
    return batch, [clock.time(make) for _ in range(repeats)]
