"""The random state of a process as tensors, so that it can live in a ``weights_only`` checkpoint."""

import torch
from torch import Tensor


def rng_state() -> dict[str, Tensor]:
    """State of PyTorch's generators: CPU, and the current CUDA device where there is one.

    Augmentation needs no state: each image's generator is seeded with (seed, epoch, index).
    """
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng(state: dict[str, Tensor]) -> None:
    """Put back what :func:`rng_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
