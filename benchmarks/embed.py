"""Features of many synthetic pictures to one file: pictures per second and memory of everything but the network.

python benchmarks/embed.py --pictures 1000000
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from pcfrl_lightning.embedding import Input, Job, embed_to_file
from pcfrl_lightning.embedding.videos import Item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000, help="default 100000")
    parser.add_argument("--length", type=int, default=64, help="of the feature (default 64)")
    parser.add_argument("--format", choices=("npz", "parquet"), default="npz", help="default npz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    weights = torch.randn(noise.size, options.length, generator=torch.Generator().manual_seed(0))
    memory: list[float] = []

    def items(start: int):
        for number in range(start, options.pictures):
            if number % max(1, options.pictures // 10) == 0:
                memory.append(resident())
            yield Item(f"person{number // 100:06d}/{number:08d}.jpg", lambda: noise)

    def extract(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"f_s": images.flatten(1).float() @ weights}

    job = Job({"synthetic": Input(items, lambda: options.pictures)}, extract, 16, ("f_s",), workers=1)
    with tempfile.TemporaryDirectory() as folder:
        out, begin = Path(folder) / f"features.{options.format}", time.perf_counter()
        report = embed_to_file(job, out, options.format)
        seconds, size = time.perf_counter() - begin, out.stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{report.rows} pictures in {seconds:.0f} s, {report.rows / seconds:.0f} per second, file {size:.0f} MB")
    print(f"resident MB at every tenth: {' '.join(f'{each:.0f}' for each in memory)}; peak {peak:.0f}")


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
