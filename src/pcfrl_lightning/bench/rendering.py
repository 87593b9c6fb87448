"""``pcfrl bench render``: how many synthetic faces one core draws."""

import time
from typing import Any

import cv2

from pcfrl_lightning.synthetic.parameters import sample_face
from pcfrl_lightning.synthetic.render import render

_BLOCK = 50  # pictures timed together


def measure_rendering(count: int, size: int) -> dict[str, Any]:
    """Draw ``count`` faces of different people in this process, without threads.

    Args:
        count: pictures; rounded up to blocks of 50.
        size: side in pixels, 32 to 256.

    Returns:
        ``images_per_second`` of the whole, and ``fastest_images_per_second`` of the best block, which other work on the
        machine disturbs least.
    """
    faces = [sample_face(0, index, identity_id=index) for index in range(-(-count // _BLOCK) * _BLOCK)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        render(faces[0], size)
        blocks = []
        for start in range(0, len(faces), _BLOCK):
            begin = time.perf_counter()
            for face in faces[start : start + _BLOCK]:
                render(face, size)
            blocks.append(time.perf_counter() - begin)
    finally:
        cv2.setNumThreads(threads)
    return {
        "images": len(faces),
        "images_per_second": len(faces) / sum(blocks),
        "fastest_images_per_second": _BLOCK / min(blocks),
    }


def rendering_text(result: dict[str, Any]) -> str:
    """The line of ``pcfrl bench render``."""
    return (
        f"{result['images']} faces on one core: {result['images_per_second']:.0f} images/s, "
        f"best block of {_BLOCK}: {result['fastest_images_per_second']:.0f}"
    )
