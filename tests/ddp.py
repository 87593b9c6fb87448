"""Run a function on several gloo processes of this machine."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _worker(rank: int, function: Callable[..., Any], ranks: int, port: int, folder: str, args: tuple[Any, ...]) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    try:
        torch.save(function(rank, ranks, *args), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def run_on_ranks(function: Callable[..., Any], *args: Any, ranks: int = 2) -> list[Any]:
    """``[function(rank, ranks, *args) for each rank]``, computed in parallel; function must be a module-level one."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(_worker, (function, ranks, _free_port(), folder, args), nprocs=ranks, start_method="fork")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(ranks)]
