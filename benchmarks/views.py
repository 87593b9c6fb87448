"""What views cost: those of the workers, those of the device on the CPU, and on a CUDA card where there is one.

python benchmarks/views.py --json benchmarks/views.json

Times on the CPU are processor times of one thread, the best of the repeats: what else runs does not count.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.benchmark import Timer

from pcfrl_lightning.bench.report import environment, write_json
from pcfrl_lightning.data import AlbumentationsViews, DeviceViews
from pcfrl_lightning.data.views.batched import draws
from pcfrl_lightning.data.views.device import views_of

BAR = 1.0  # ms for the six views of 256 images on the device


def main(arguments: Sequence[str]) -> dict[str, float]:
    """Time each kind of views on pictures of noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=256, help="images of a batch (default 256)")
    parser.add_argument("--image-size", type=int, default=64, help="side of images and views (default 64)")
    parser.add_argument("--repeats", type=int, default=5, help="batches, of which the fastest counts (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts = environment(device)
    shape = (options.batch_size, options.image_size, options.image_size, 3)
    images = list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    result = on_cpu(images, options.repeats) | (on_cuda(images) if device.type == "cuda" else {})
    print("\n".join(f"{name:<40}{value:>12,.2f}" for name, value in result.items()))
    if "device_compiled_ms" in result:
        print(f"bar of {BAR} ms: {'met' if result['device_compiled_ms'] <= BAR else 'missed'}")
    if options.json is not None:
        asked: dict[str, Any] = {key: value for key, value in vars(options).items() if key != "json"}
        write_json(options.json, {"benchmark": "views", "options": asked, "environment": facts, "result": result})
    return result


def on_cpu(images: list[np.ndarray], repeats: int) -> dict[str, float]:
    """Images a second of processor time: all views by the workers, what is left to them, and what the device does."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    workers, device = AlbumentationsViews(len(images[0])), DeviceViews(len(images[0]), compiled=False)
    keys, generator = torch.zeros(len(images), 2).long(), torch.Generator()

    def read(views: AlbumentationsViews) -> dict[str, torch.Tensor]:
        return views.collate([views.sample(image, np.random.default_rng([0, n])) for n, image in enumerate(images)])

    batch = read(device)
    times = {
        "albumentations_images_per_second": fastest(lambda: workers.batch(read(workers), keys, generator), repeats),
        "device_workers_images_per_second": fastest(lambda: read(device), repeats),
        "device_on_cpu_images_per_second": fastest(lambda: device.batch(batch, keys, generator), repeats),
    }
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])
    return {name: len(images) / seconds for name, seconds in times.items()}


def fastest(work: Callable[[], Any], repeats: int) -> float:
    """Least processor time of a call in seconds, after one that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def on_cuda(images: list[np.ndarray]) -> dict[str, float]:
    """Milliseconds a batch whose images are on the card, and seconds until it is compiled."""
    torch.set_float32_matmul_precision("high")  # as `pcfrl fit` does
    recipe = DeviceViews(len(images[0]))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().cuda()
    generator, result = torch.Generator("cuda"), {}
    for name, views in (("eager", views_of), ("compiled", torch.compile(views_of, fullgraph=True))):

        def work(views: Callable[..., Any] = views) -> None:
            uniform = torch.rand(len(pixels), draws.NUMBERS, generator=generator, device="cuda")
            views(pixels, uniform, recipe)

        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        result[f"device_{name}_first_s"] = time.perf_counter() - start
        result[f"device_{name}_ms"] = Timer("work()", globals={"work": work}).timeit(100).mean * 1000
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
