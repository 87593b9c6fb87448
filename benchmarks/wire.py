"""What a training step sends between processes: payload of every collective operation, counted on two gloo processes.

python benchmarks/wire.py --width 1.0 --batch 4

Payload is the size of the tensor that an operation works on. A ring of W processes sends 2 (W - 1) / W of it per
process for an all-reduce, (W - 1) / W for a reduce-scatter and for an all-gather (of the gathered tensor).
"""

import argparse
import os
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pcfrl_lightning import PCFRL
from pcfrl_lightning.methods.pcfrl import VIEW_ORDER
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm

RANKS = 2


def main(arguments: Sequence[str]) -> None:
    """A table on standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0, help="of the backbone (default 1.0)")
    parser.add_argument("--batch", type=int, default=4, help="images per process (default 4)")
    options = parser.parse_args(arguments)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(step, (port, options.width, options.batch), nprocs=RANKS)


def step(rank: int, port: int, width: float, batch: int) -> None:
    """Losses and backward of one step on one process."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    torch.manual_seed(0)
    method = PCFRL(FaceBackbone(width))
    sync_batch_norm(method.network, "cpu")
    calls, payload = counted()
    loss, _ = method.losses({name: torch.rand(batch, 3, 64, 64) for name in VIEW_ORDER})
    forward = dict(payload)
    loss.backward()
    if rank == 0:
        print("| operation | calls | bytes | of them forward |\n|---|---|---|---|")
        for name in payload:
            print(f"| {name} | {calls[name]} | {payload[name]:,} | {forward.get(name, 0):,} |")
        weights = sum(weight.numel() * weight.element_size() for weight in method.parameters())
        print(f"| all_reduce of the gradients (DDP, in buckets) | | {weights:,} | 0 |")
    dist.destroy_process_group()


def counted() -> tuple[Counter[str], Counter[str]]:
    """Number of calls and bytes of the operations from here on."""
    calls: Counter[str] = Counter()
    payload: Counter[str] = Counter()

    def watch(name: str, size: Any) -> None:
        function = getattr(dist, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            tensor = size(*args)
            kind = f"{name}, {'up to 8 kB' if tensor <= 8192 else 'larger'}"
            calls[kind] += 1
            payload[kind] += tensor
            return function(*args, **kwargs)

        setattr(dist, name, call)

    watch("all_reduce", lambda x: x.numel() * x.element_size())
    watch("all_gather", lambda parts, x: len(parts) * x.numel() * x.element_size())
    watch("reduce_scatter_tensor", lambda _, x: x.numel() * x.element_size())
    return calls, payload


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
