"""Every variant of every ablation and every sweep is parsed, built and trained for a step."""

from functools import cache
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from pcfrl_lightning.cli.configs import FOLDER, with_config_paths
from pcfrl_lightning.sweeps.ablation import read_ablation
from pcfrl_lightning.sweeps.sweep import read_sweep

ABLATIONS = sorted((FOLDER / "ablation").glob("*.yaml"))
SWEEPS = sorted((FOLDER / "sweeps").glob("*.yaml"))
TINY = """--config=
model: {init_args: {image_size: 32, projection_dim: 16, backbone: {init_args: {width: 0.0625}}}}
data: {class_path: pcfrl_lightning.synthetic.module.SyntheticFaces, init_args: {image_size: 32}}
"""


@cache
def parser():
    """The model and data of `pcfrl fit`, whose own parser takes seconds for each command line."""
    import pcfrl_lightning.callbacks
    import pcfrl_lightning.data
    import pcfrl_lightning.methods
    import pcfrl_lightning.synthetic.module  # noqa: F401

    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_argument("--seed_everything", type=int)
    parser.add_lightning_class_args(L.LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(L.LightningDataModule, "data", subclass_mode=True)
    for name in ("trainer", "optimizer", "lr_scheduler"):  # of no interest here
        parser.add_argument(f"--{name}", type=dict)
    return parser


def parsed(arguments):
    return parser().parse_args(with_config_paths(list(arguments)))


def train_a_step(config):
    built = parser().instantiate_classes(config)
    faces = list(np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8))
    views = built.data.views
    batch = views.make(faces, [(0, index) for index in range(4)], device=torch.device("cpu"))
    loss, stats = built.model.losses(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(name.startswith(tuple(built.model.calibrators)) or value.isfinite() for name, value in stats.items())
    assert sum(each.grad.abs().sum() for each in built.model.parameters() if each.grad is not None) > 0


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_variant_of_an_ablation_trains_and_none_is_another_one(path, tmp_path):
    ablation = read_ablation(path)
    seen = {}
    for trial in ablation.trials(1, tmp_path, overrides=[TINY]):
        config = parsed(trial.arguments)
        text = repr((config.model, config.data))
        assert text not in seen, f"{trial.name} is {seen[text]}"
        seen[text] = trial.name
        train_a_step(config)
    assert len(seen) == len(ablation.variants) >= 2


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_command_line_of_a_sweep_trains(path, tmp_path):
    sweep = read_sweep(path, [TINY])
    values = {parameter.key: parameter.example for parameter in sweep.parameters}
    config = parsed(sweep.trial(0, values, tmp_path).arguments)
    flat = {key.replace("init_args.", ""): value for key, value in config.as_flat().__dict__.items()}
    assert {key: flat[key] for key in values} == values
    train_a_step(config)


def test_there_is_a_file_for_each_table_and_figure():
    names = {path.stem for path in ABLATIONS}
    assert names >= {"table5", "table6", "table7", "table8", "table10", "fig6_alpha", "fig7_threshold"}
    assert names >= {"weighting", "denominator", "calibrated_mean", "start", "neighbourhood", "threshold", "pose_pairs"}
    assert {Path(path).stem for path in SWEEPS} == {"alpha", "beta", "threshold", "joint"}
