"""What the global batch does to pair alignment: the best value of an anchor, and how many pass T.

python benchmarks/npa_batch.py faces.zip more.zip --json benchmarks/npa_batch.json

Features are the pixels of the faces: grey, 24 x 24, each image with mean 0 and length 1, the mean of all images taken
out, in two views (a random crop of 80 to 100 % of the side, half of them flipped). They are no projections of a trained
network; what carries over is how the figures change with M. Blocks of anchors meet the whole batch, so the (M, M)
matrix is never there.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning import functional as F
from pcfrl_lightning.bench.report import write_json
from pcfrl_lightning.data.images.sources import ImageSource
from pcfrl_lightning.data.images.zips import ZipSource

SIDE = 24
BLOCK = 1024


def main(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """One row per number of views M; a table on standard output, JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zips", nargs="+", type=Path, help="zip archives of faces, at least half as many as M")
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 4096, 16384, 65536], help="numbers of views M")
    parser.add_argument("--anchors", type=int, default=4096, help="how many of them are looked at (default 4096)")
    parser.add_argument("--alpha", type=float, default=10.0, help="weight of the neighbourhood (default 10)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    first, second = two_views(ZipSource(options.zips), max(options.sizes) // 2)
    rows = [measure(first[: m // 2], second[: m // 2], options.anchors, options.alpha) for m in options.sizes]
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(f"{row[name]:.4g}" for name in names) + " |")
    if options.json:
        write_json(options.json, {"rows": rows, "zips": [path.name for path in options.zips], "alpha": options.alpha})
    return rows


def two_views(faces: ImageSource, images: int) -> tuple[Tensor, Tensor]:
    """Two views of so many faces, (N, SIDE * SIDE) each."""
    if len(faces) < images:
        raise SystemExit(f"{images} faces are needed, the archives hold {len(faces)}")
    rng = np.random.default_rng(0)
    views = np.empty((2, images, SIDE * SIDE), np.float32)
    for row, index in enumerate(rng.permutation(len(faces))[:images]):
        grey = cv2.cvtColor(faces.read(int(index)), cv2.COLOR_RGB2GRAY)
        for view in views:
            side = int(min(grey.shape) * rng.uniform(0.8, 1.0))
            top, left = (int(rng.integers(0, size - side + 1)) for size in grey.shape)
            crop = grey[top : top + side, left : left + side]
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            view[row] = cv2.resize(np.ascontiguousarray(crop), (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    views -= views.mean(axis=2, keepdims=True)
    unit = F.normalize(torch.from_numpy(views))
    first, second = unit - unit.mean(dim=(0, 1))
    return first, second


def measure(first: Tensor, second: Tensor, anchors: int, alpha: float) -> dict[str, Any]:
    """Best alignment of anchors with views of other images."""
    images, start = len(first), time.perf_counter()
    batch = F.normalize(torch.cat([first, second]))
    weight = F.neighborhood_weight(alpha, len(batch))
    best, cosine, count = [], [], torch.zeros(())
    for rows in torch.linspace(0, len(batch) - 1, min(anchors, len(batch))).long().split(BLOCK):
        similarity = batch[rows] @ batch.T
        score = F.alignment_scores(batch[rows], batch, similarity, weight)
        same = torch.arange(len(batch)) % images == (rows % images).unsqueeze(1)
        score = score.masked_fill(same, -torch.inf)
        maximum, partner = score.max(dim=1)
        best.append(maximum)
        cosine.append(similarity.gather(1, partner.unsqueeze(1)).squeeze(1))
        count += (score >= 1).sum()
    top, near = torch.cat(best), torch.cat(cosine)
    return {
        "M": len(batch),
        "anchors >= T = 1, %": 100 * (top >= 1).float().mean().item(),
        "views >= 1 per anchor": (count / len(top)).item(),
        "best PA, median": top.median().item(),
        "best PA, 90 %": top.quantile(0.9).item(),
        "cosine of the partner, median": near.median().item(),
        "partner with cosine > 0.9, %": 100 * (near > 0.9).float().mean().item(),
        "ms per 1000 anchors": 1e6 * (time.perf_counter() - start) / len(top),
    }


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
