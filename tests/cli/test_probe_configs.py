"""Every config of configs/probe: it builds its probe and its data, and two of them run from fit to results.json."""

import json
from pathlib import Path

import pytest

import trees
from pcfrl_lightning.errors import DataError

CONFIGS = Path(__file__).parents[2] / "configs" / "probe"
LAYERED = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("linear", "fer2013"))
SMALL = ["--model.image_size=32", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.num_workers=0"]


def layers(name):
    return ["--config", "configs/probe/linear.yaml", "--config", f"configs/probe/{name}.yaml"]


@pytest.mark.parametrize("name", LAYERED)
def test_config_builds_probe_and_data(pcfrl, name):
    """The first thing amiss is the absent folder."""
    with pytest.raises((FileNotFoundError, DataError), match="nowhere"):
        pcfrl("fit", *layers(name), "--data.root=nowhere", "--baseline=pixels", *SMALL)


def test_an_alignment_is_known_by_the_name_of_its_class(pcfrl):
    """As the documentation says, without a module path."""
    chosen = ["--data.alignment=LandmarkCrop", "--data.alignment.margin=0.5", "--data.images=original"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pcfrl("fit", *layers("rafdb"), "--data.root=nowhere", "--baseline=pixels", *SMALL, *chosen)


@pytest.mark.parametrize(("name", "tree"), [("rafdb", trees.rafdb), ("300w", trees.landmarks_300w)])
def test_config_runs_to_results(pcfrl, folder, name, tree):
    root = tree(folder / "data")
    options = [*layers(name), "--data.root", root, "--baseline=pixels", *SMALL, "--trainer.enable_progress_bar=false"]
    pcfrl("fit", *options)
    pcfrl("test", *options, "--ckpt_path", f"runs/probe/{name}/checkpoints/last.ckpt")
    results = json.loads((folder / "runs" / "probe" / name / "results.json").read_text())
    assert results["dataset"].startswith(name)
    if name == "300w":
        assert results["metrics"]["last"]["nme_challenging"] > 0
