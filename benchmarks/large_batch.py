"""Peak memory and time of the calibrated head on a large batch, forward and backward, in a process of its own.

python benchmarks/large_batch.py --views 65536
"""

import argparse
import json
import resource
import time

import torch

from pcfrl_lightning.heads import CalibratedContrast, Eq7, NPAThreshold
from pcfrl_lightning.heads.blocks import LARGEST


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure once; returns what it prints. ``extra_gb`` is the peak resident memory above that with the features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=16384, help="M, an even number")
    parser.add_argument("--dim", type=int, default=512)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    first = torch.randn(options.views // 2, options.dim)
    second = (first + 0.5 * torch.randn_like(first)).requires_grad_()
    first.requires_grad_()
    before = _peak_bytes()
    begun, used = time.perf_counter(), time.process_time()
    output = CalibratedContrast(NPAThreshold(), Eq7())(first, second)
    (output.loss + output.calibrated_loss).backward()
    result = {
        "views": options.views,
        "block": LARGEST // options.views,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - used,
        "extra_gb": (_peak_bytes() - before) / 1e9,
        "loss": output.loss.item(),
    }
    print(json.dumps(result))
    return result


def _peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
