"""Images a second that the loader gives, by views and `data.cache`; nothing is trained.

python benchmarks/image_cache.py --root FER2013 --workers 2
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import islice

import torch

from pcfrl_lightning.data import AlbumentationsViews, DeviceViews, FaceFolder


def main(arguments: Sequence[str]) -> dict[str, float]:
    """Time batches of each kind, the first of which is not counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, nargs="+", help="folder or zips of images")
    parser.add_argument("--workers", type=int, default=2, help="processes of the loader (default 2)")
    parser.add_argument("--batch-size", type=int, default=256, help="images of a batch (default 256)")
    parser.add_argument("--image-size", type=int, default=64, help="side of the views (default 64)")
    parser.add_argument("--batches", type=int, default=20, help="batches that are timed (default 20)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rates = {}
    for kind in (AlbumentationsViews, DeviceViews):
        for cache in ("none", "disk", "memory"):
            data = FaceFolder(
                options.root,
                views=kind(),
                image_size=options.image_size,
                batch_size=options.batch_size,
                num_workers=options.workers,
                cache=cache,
            )
            data.setup("fit")
            batches = iter(data.train_dataloader())
            next(batches)
            begun = time.perf_counter()
            count = sum(1 for _ in islice(batches, options.batches))
            rate = rates[f"{kind.__name__} {cache}"] = count * options.batch_size / (time.perf_counter() - begun)
            print(f"{kind.__name__:<22}{cache:<8}{rate:>12,.0f} images/s", flush=True)
    return rates


if __name__ == "__main__":
    main(sys.argv[1:])
