"""Read checkpoints: a path alone gives the network, always with ``weights_only=True``."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.networks.spec import build

PREFIX = "network."


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file as a hex string, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint dictionary onto the CPU without running any code from it.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        DataError: the file is damaged, holds more than tensors and primitives, or is no checkpoint dictionary.
    """
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"checkpoint {path} is a folder; give a .ckpt file in it")
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} does not exist; give the path of a .ckpt file that `pcfrl fit` wrote"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can fail anywhere in the unpickler, with IndexError for instance
        reason = f"{type(error).__name__}: {error}".split("\n")[0].split(". ")[0]
        raise DataError(
            f"checkpoint {path} is damaged or is not a plain PyTorch checkpoint ({reason}); give a .ckpt file that "
            "`pcfrl fit` or `pcfrl import-pcl` wrote"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise DataError(
            f"checkpoint {path} has no 'state_dict'; convert a public PCL file with `pcfrl import-pcl` first"
        )
    return checkpoint


def build_network(hyper_parameters: dict[str, Any]) -> PCFRLNetwork:
    """Build the untrained network that a checkpoint's hyper-parameters describe."""
    network = {key: hyper_parameters[key] for key in ("image_size", "projection_dim") if key in hyper_parameters}
    backbone = hyper_parameters.get("backbone")
    return PCFRLNetwork(build(backbone) if backbone else FaceBackbone(), **network)


def load_network(path: str | Path) -> PCFRLNetwork:
    """Load the trained network of a checkpoint, in evaluation mode, from the path alone.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        DataError: the checkpoint is damaged, or its weights do not fit the network that it describes.
    """
    checkpoint = read_checkpoint(path)
    if "head.weights.0" in checkpoint["state_dict"]:
        raise DataError(f"checkpoint {path} is the head of a probe; give the checkpoint of the pretraining")
    network = build_network(checkpoint.get("hyper_parameters", {}))
    weights = {key[len(PREFIX) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(PREFIX)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"checkpoint {path} does not hold the network it describes: {reason} ...") from error
    return network.eval()
