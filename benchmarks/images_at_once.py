"""How many images a CPU should take through an encoder at once: `Encoder.features` beside passes of fixed sizes.

python benchmarks/images_at_once.py
"""

import argparse
import time

import torch

from pcfrl_lightning.networks import Encoder, FaceBackbone, PCFRLNetwork

SIZES = (8, 16, 32, 64, 128)


def passes(encoder: Encoder, images: torch.Tensor, size: int | None) -> None:
    """All images, ``size`` at once; None: as `Encoder.features` chooses."""
    for part in images.split(size or len(images)):
        encoder.features(part) if size is None else encoder.encode(part.float() / 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for width, pixels in ((1.0, 100), (1.0, 64), (0.25, 100), (0.125, 100), (0.125, 48)):
        encoder = PCFRLNetwork(FaceBackbone(width)).eval().to(memory_format=torch.channels_last)
        images = torch.randint(256, (128, 3, pixels, pixels), dtype=torch.uint8)
        seconds: dict[int | None, list[float]] = {}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for _ in range(options.rounds):  # in turn, so that a slower machine slows all of them
                for size in (None, *SIZES):
                    start = time.process_time()
                    passes(encoder, images, size)
                    seconds.setdefault(size, []).append(time.process_time() - start)
        rates = {size: sorted(len(images) / each for each in found) for size, found in seconds.items()}
        shown = ", ".join(f"{size or 'chosen'}: {found[len(found) // 2]:,.0f}" for size, found in rates.items())
        print(f"width {width}, {pixels} px, median images a processor second: {shown}", flush=True)


if __name__ == "__main__":
    main()
