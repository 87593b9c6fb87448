"""How many synthetic faces one core draws.

python benchmarks/render.py --json benchmarks/render.json
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from torch.utils.benchmark import Timer

from pcfrl_lightning.bench.report import environment, write_json
from pcfrl_lightning.synthetic.parameters import sample_face
from pcfrl_lightning.synthetic.render import render

BLOCK = 50  # pictures timed together


def main(arguments: Sequence[str]) -> dict[str, float]:
    """Draw faces of different people without threads; ``fastest_images_per_second`` is that of the best block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help=f"pictures, in blocks of {BLOCK} (default 500)")
    parser.add_argument("--image-size", type=int, default=64, help="side in pixels, 32 to 256 (default 64)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args(arguments)
    faces = [sample_face(0, index, identity_id=index) for index in range(-(-options.count // BLOCK) * BLOCK)]
    threads, facts = cv2.getNumThreads(), environment(torch.device("cpu"))
    cv2.setNumThreads(0)
    try:
        render(faces[0], options.image_size)
        blocks = [
            Timer(
                "for face in block: render(face, size)",
                globals={"render": render, "block": faces[start : start + BLOCK], "size": options.image_size},
            )
            .timeit(1)
            .mean
            for start in range(0, len(faces), BLOCK)
        ]
    finally:
        cv2.setNumThreads(threads)
    result = {
        "images": len(faces),
        "images_per_second": len(faces) / sum(blocks),
        "fastest_images_per_second": BLOCK / min(blocks),
    }
    print(
        f"{result['images']} faces on one core: {result['images_per_second']:.0f} images/s, "
        f"best block of {BLOCK}: {result['fastest_images_per_second']:.0f}"
    )
    if options.json is not None:
        asked = {"count": options.count, "image_size": options.image_size}
        write_json(options.json, {"benchmark": "render", "options": asked, "environment": facts, "result": result})
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
