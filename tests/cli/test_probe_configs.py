"""Every config of configs/probe: it builds its probe and its data, and two of them run from fit to results.json."""

import json
import re
from pathlib import Path

import pytest

import trees
from pcfrl_lightning.errors import DataError, UsageError

CONFIGS = Path(__file__).parents[2] / "configs" / "probe"
LAYERED = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("linear", "fer2013", "table9"))
SMALL = ["--model.image_size=32", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.num_workers=0"]


def layers(name):
    return ["--config", "configs/probe/linear.yaml", "--config", f"configs/probe/{name}.yaml"]


@pytest.mark.parametrize("name", LAYERED)
def test_config_builds_probe_and_data(pcfrl, name):
    """The first thing amiss is the absent folder."""
    label = ["--model.label=emotion"] if name == "labelled" else []
    with pytest.raises((FileNotFoundError, DataError), match="nowhere"):
        pcfrl("fit", *layers(name), "--data.root=nowhere", "--baseline=pixels", *SMALL, *label)


def test_an_alignment_is_known_by_the_name_of_its_class(pcfrl):
    """As the documentation says, without a module path."""
    chosen = ["--data.cropping=LandmarkCrop", "--data.cropping.margin=0.5", "--data.images=original"]
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


@pytest.fixture
def fitted(pcfrl, folder):
    """A head of RAF-DB in `runs/probe/rafdb`, tested; returns the options of its run."""
    root = trees.rafdb(folder / "data")
    options = [
        *layers("rafdb"),
        "--data.root",
        root,
        "--baseline=pixels",
        *SMALL,
        "--trainer.enable_progress_bar=false",
    ]
    pcfrl("fit", *options)
    pcfrl("test", *options, "--ckpt_path", "runs/probe/rafdb/checkpoints/last.ckpt")
    return options


def files_of(run):
    return {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (["--data.images=original"], "images aligned, not original"),
        (
            ["--data.images=original", "--data.cropping=UprightCrop"],
            "cropping NoCrop(), not UprightCrop(margin=0.25); images aligned, not original",
        ),
    ],
)
def test_a_head_is_not_tested_on_other_images_than_it_was_trained_on(pcfrl, folder, fitted, other, problem):
    before = files_of(folder / "runs/probe/rafdb")["results.json"]
    with pytest.raises(
        UsageError, match=rf"the head was trained with {re.escape(problem)}.*: give the data options of"
    ):
        pcfrl("test", *fitted, *other, "--ckpt_path", "runs/probe/rafdb/checkpoints/last.ckpt")
    assert files_of(folder / "runs/probe/rafdb")["results.json"] == before


def test_a_head_of_another_fold_is_refused(pcfrl, folder):
    for subject in ("F0001", "M0002"):
        for code in ("AN01", "DI02", "NE00"):
            trees.image(folder / f"data/{subject}/{subject}_{code}WH_F2D.bmp")
    options = [*layers("bu3dfe"), "--data.root", folder / "data", "--data.folds=2", "--baseline=pixels", *SMALL]
    pcfrl("fit", *options, "--data.fold=0")
    with pytest.raises(
        UsageError, match=r"trained with fold 0, not 1; split bu3dfe/fold0-train, not bu3dfe/fold1-train"
    ):
        pcfrl("test", *options, "--data.fold=1", "--ckpt_path", "runs/probe/bu3dfe/checkpoints/last.ckpt")


def test_a_fit_that_cannot_begin_leaves_an_earlier_run_alone(pcfrl, folder, fitted):
    before = files_of(folder / "runs/probe/rafdb")
    (folder / "data/basic/Image/aligned/train_00001_aligned.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read"):
        pcfrl("fit", *fitted, "--model.lr=0.5")
    after = files_of(folder / "runs/probe/rafdb")
    assert {name: after[name] for name in before} == before


def test_a_refused_resume_leaves_the_run_alone(pcfrl, folder, fitted):
    before = files_of(folder / "runs/probe/rafdb")
    with pytest.raises(UsageError, match="is the end of a run, 1 of 1 epochs are done"):
        pcfrl("fit", *fitted, "--data.images=original", "--ckpt_path", "runs/probe/rafdb/checkpoints/last.ckpt")
    assert files_of(folder / "runs/probe/rafdb") == before


def test_a_head_is_not_tested_on_its_training_images_by_other_lists(pcfrl, folder):
    for name in "abcd":
        trees.image(folder / f"data/{name}.jpg")
    for number, (train, test) in enumerate([("ab", "cd"), ("da", "bc")]):
        for split, names in (("train", train), ("test", test)):
            trees.text(
                folder / f"data/{number}/{split}.txt", "".join(f"{name}.jpg {k}\n" for k, name in enumerate(names))
            )
    data = ["--data", "pcfrl_lightning.data.ListedExpressions", "--data.root", folder / "data", "--baseline=pixels"]
    options = [
        "--config",
        "configs/probe/linear.yaml",
        "--model",
        "pcfrl_lightning.probes.ExpressionProbe",
        *data,
        *SMALL,
    ]

    def lists(number):
        return ["--data.train_list", f"{number}/train.txt", "--data.test_list", f"{number}/test.txt"]

    pcfrl("fit", *options, *lists(0))
    checkpoint = next(folder.glob("runs/**/last.ckpt"))
    pcfrl("test", *options, *lists(0), "--ckpt_path", checkpoint)
    with pytest.raises(UsageError, match=r"trained on other images of listed-expressions/train than"):
        pcfrl("test", *options, *lists(1), "--ckpt_path", checkpoint)


def test_a_run_without_a_folder_of_its_own_removes_nothing(pcfrl, folder, fitted):
    (folder / "results.json").write_text("mine")
    pcfrl("fit", *fitted, "--trainer.fast_dev_run=true")
    assert (folder / "results.json").read_text() == "mine"
    assert (folder / "runs/probe/rafdb/results.json").is_file()


def test_a_new_head_does_not_keep_the_test_of_the_old_one(pcfrl, folder, fitted):
    pcfrl("fit", *fitted, "--model.lr=0.5")
    left = files_of(folder / "runs/probe/rafdb")
    assert not {"results.json", "metrics_test.csv"} & set(left)
    assert {"last.ckpt", "config.yaml", "metrics.csv"} <= set(left)
