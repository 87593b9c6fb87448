"""Reading checkpoints of the public PCL code (DreamMr/PCL) into this package's layout."""

from collections.abc import Mapping
from pathlib import Path

import lightning
import torch
from torch import Tensor

from pcfrl_lightning.errors import require
from pcfrl_lightning.files import file_sha256, replacing
from pcfrl_lightning.networks.checkpoint import check_weights, load_weights
from pcfrl_lightning.networks.network import PCFRLNetwork
from pcfrl_lightning.networks.rebuild import PREFIX

# PCL module -> ours. PCL calls the face branch "exp"; its Sequentials count the activations between the layers.
_ATTENTION = {"g": "gather", "theta": "attend", "phi": "project"}
_BRANCHES = {"exp": "face", "pose": "pose"}
_CONVOLUTIONS = {
    "encoder.conv1.0": "backbone.stem.0.0",
    "encoder.conv1.2": "backbone.stem.1.0",
    "encoder.layer1.0": "backbone.layer1.0.0",
    "encoder.layer1.3": "backbone.layer1.2.0",
    "encoder.layer2_1.0": "backbone.layer2.0.0",
    "encoder.layer2_1.3": "backbone.layer2.2.0",
    "encoder.layer2_2.0": "backbone.layer3.0.0",
    "encoder.layer2_2.2": "backbone.layer3.1.0",
    "encoder.layer3_1.0": "backbone.layer4.0.0",
    "encoder.layer3_1.2": "backbone.layer4.1.0",
    "decoder.fc": "decoder.linear",
    **{f"encoder.layer1.2.{theirs}": f"backbone.layer1.1.{ours}" for theirs, ours in _ATTENTION.items()},
    **{f"encoder.layer2_1.2.{theirs}": f"backbone.layer2.1.{ours}" for theirs, ours in _ATTENTION.items()},
    **{f"encoder.resblock{i + 1}.conv{j}": f"backbone.residual.{i}.conv{j}" for i in (0, 1) for j in (1, 2)},
    **{f"encoder.layer3_2_{t}.{2 * i}": f"{o}_subnet.{i}.0" for t, o in _BRANCHES.items() for i in (0, 1)},
    **{f"{theirs}_fc.{i}": f"{ours}_projector.{i}" for theirs, ours in _BRANCHES.items() for i in (0, 2)},
    **{f"decoder.model.{4 * i + 2}": f"decoder.blocks.{i}.conv" for i in range(6)},
}
_NORMS = {
    **{f"{theirs}_fc.3": f"{ours}_projector.3" for theirs, ours in _BRANCHES.items()},
    **{f"decoder.model.{4 * i + 3}": f"decoder.norms.{i}" for i in range(5)},
}

PCL_TO_PCFRL: dict[str, str] = {
    f"{theirs}.{entry}": f"{ours}.{entry}"
    for layers, entries in (
        (_CONVOLUTIONS, ("weight", "bias")),
        (_NORMS, ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    )
    for theirs, ours in layers.items()
    for entry in entries
}
"""Every key of PCL's state dict (105, without ``module.``) and the key of `PCFRLNetwork`'s state dict it becomes."""


def _paper_shapes() -> dict[str, torch.Size]:
    """Shapes in the state dict of `PCFRLNetwork()`, without its memory."""
    with torch.device("meta"):
        return {key: value.shape for key, value in PCFRLNetwork().state_dict().items()}


def from_pcl(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PCL's state dict renamed to `PCFRLNetwork`'s keys; ValueError names those that are missing or do not fit."""
    shapes = _paper_shapes()
    try:
        check_weights({theirs: shapes[ours] for theirs, ours in PCL_TO_PCFRL.items()}, state)
    except ValueError as error:
        raise ValueError(f"not a state dict of the public PCL model: {error}") from error
    return {ours: state[theirs] for theirs, ours in PCL_TO_PCFRL.items()}


def import_pcl(source: str | Path, target: str | Path) -> None:
    """Convert a checkpoint of the public PCL code to one of this package.

    Args:
        source: a ``torch.save`` file holding PCL's state dict, or a dict with it under ``state_dict``;
            names may begin with ``module.`` or ``_orig_mod.``.
        target: the checkpoint to write; a path alone is then enough to load the network.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        ValueError: ``source`` is not such a file, or its keys or shapes do not fit; or ``target`` is a folder.
    """
    source, target = Path(source), Path(target)
    require(not target.is_dir(), f"{target} is a folder; give the name of a file in it")
    state = load_weights(source)
    try:
        network = from_pcl(state)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    # the network that every published checkpoint holds
    backbone = {"class_path": "pcfrl_lightning.networks.FaceBackbone", "init_args": {"width": 1.0}}
    checkpoint = {
        "state_dict": {f"{PREFIX}{key}": value for key, value in network.items()},
        "hyper_parameters": {"backbone": backbone, "image_size": 64, "projection_dim": 512},
        "pcfrl_import": {"source": source.name, "sha256": file_sha256(source)},
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
    }
    with replacing(target) as part:
        torch.save(checkpoint, part)
