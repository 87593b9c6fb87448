"""Reading checkpoints of the public PCL code (DreamMr/PCL) into this package's layout."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks.checkpoint import check_weights, file_sha256, load_plain, strip_wrappers
from pcfrl_lightning.networks.network import PCFRLNetwork

_CONVOLUTION = ("weight", "bias")
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

# PCL module -> ours. PCL calls the face branch "exp"; its Sequentials count the activations between the layers.
_CONVOLUTIONS = {
    "encoder.conv1.0": "backbone.stem.0.0",
    "encoder.conv1.2": "backbone.stem.1.0",
    "encoder.layer1.0": "backbone.layer1.0.0",
    "encoder.layer1.2.g": "backbone.layer1.1.gather",
    "encoder.layer1.2.theta": "backbone.layer1.1.attend",
    "encoder.layer1.2.phi": "backbone.layer1.1.project",
    "encoder.layer1.3": "backbone.layer1.2.0",
    "encoder.layer2_1.0": "backbone.layer2.0.0",
    "encoder.layer2_1.2.g": "backbone.layer2.1.gather",
    "encoder.layer2_1.2.theta": "backbone.layer2.1.attend",
    "encoder.layer2_1.2.phi": "backbone.layer2.1.project",
    "encoder.layer2_1.3": "backbone.layer2.2.0",
    "encoder.resblock1.conv1": "backbone.residual.0.conv1",
    "encoder.resblock1.conv2": "backbone.residual.0.conv2",
    "encoder.resblock2.conv1": "backbone.residual.1.conv1",
    "encoder.resblock2.conv2": "backbone.residual.1.conv2",
    "encoder.layer2_2.0": "backbone.layer3.0.0",
    "encoder.layer2_2.2": "backbone.layer3.1.0",
    "encoder.layer3_1.0": "backbone.layer4.0.0",
    "encoder.layer3_1.2": "backbone.layer4.1.0",
    "encoder.layer3_2_exp.0": "face_subnet.0.0",
    "encoder.layer3_2_exp.2": "face_subnet.1.0",
    "encoder.layer3_2_pose.0": "pose_subnet.0.0",
    "encoder.layer3_2_pose.2": "pose_subnet.1.0",
    "exp_fc.0": "face_projector.0",
    "exp_fc.2": "face_projector.2",
    "pose_fc.0": "pose_projector.0",
    "pose_fc.2": "pose_projector.2",
    "decoder.fc": "decoder.linear",
    "decoder.model.2": "decoder.blocks.0.conv",
    "decoder.model.6": "decoder.blocks.1.conv",
    "decoder.model.10": "decoder.blocks.2.conv",
    "decoder.model.14": "decoder.blocks.3.conv",
    "decoder.model.18": "decoder.blocks.4.conv",
    "decoder.model.22": "decoder.blocks.5.conv",
}
_NORMS = {
    "exp_fc.3": "face_projector.3",
    "pose_fc.3": "pose_projector.3",
    "decoder.model.3": "decoder.norms.0",
    "decoder.model.7": "decoder.norms.1",
    "decoder.model.11": "decoder.norms.2",
    "decoder.model.15": "decoder.norms.3",
    "decoder.model.19": "decoder.norms.4",
}

PCL_TO_PCFRL: dict[str, str] = {
    f"{theirs}.{entry}": f"{ours}.{entry}"
    for layers, entries in ((_CONVOLUTIONS, _CONVOLUTION), (_NORMS, _NORM))
    for theirs, ours in layers.items()
    for entry in entries
}
"""Every key of PCL's state dict (105, without ``module.``) and the key of `PCFRLNetwork`'s state dict it becomes."""

HYPER_PARAMETERS: dict[str, Any] = {
    "backbone": {"class_path": "pcfrl_lightning.networks.FaceBackbone", "init_args": {"width": 1.0}},
    "image_size": 64,
    "projection_dim": 512,
}
"""The network every published PCL checkpoint holds."""


def from_pcl(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PCL's state dict, also with ``module.`` and ``_orig_mod.``, renamed to `PCFRLNetwork`'s keys; shapes are checked.

    Raises:
        ValueError: one message with the first missing, unexpected and wrongly shaped keys and the number of others.
    """
    state = strip_wrappers(state)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in PCFRLNetwork().state_dict().items()}
    try:
        check_weights({theirs: shapes[ours] for theirs, ours in PCL_TO_PCFRL.items()}, state)
    except ValueError as error:
        raise ValueError(f"not a state dict of the public PCL model: {error}") from error
    return {ours: state[theirs] for theirs, ours in PCL_TO_PCFRL.items()}


def import_pcl(source: str | Path, target: str | Path) -> None:
    """Convert a checkpoint of the public PCL code to one of this package.

    Args:
        source: a ``torch.save`` file holding PCL's state dict, or a dict with it under ``state_dict``.
        target: the checkpoint to write; a path alone is then enough to load the network.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        ValueError: ``source`` is not such a file, or its keys or shapes do not fit.
    """
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise FileNotFoundError(f"PCL checkpoint {source} does not exist")
    try:
        network = from_pcl(_read_state(source))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    checkpoint = {
        "state_dict": {f"network.{key}": value for key, value in network.items()},
        "hyper_parameters": HYPER_PARAMETERS,
        "pcfrl_import": {"source": source.name, "sha256": file_sha256(source)},
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    torch.save(checkpoint, partial)
    os.replace(partial, target)


def _read_state(source: Path) -> dict[str, Tensor]:
    try:
        content = load_plain(source)
    except DataError as error:
        raise ValueError(f"not a file of plain tensors that torch.load(weights_only=True) reads ({error})") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ValueError(f"expected a state dict or a dict with the entry state_dict, found {type(content).__name__}")
    return {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
