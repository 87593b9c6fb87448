"""Probes on any label: of a table, of class folders, of any data module, and a task that a user writes."""

import json

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pcfrl_lightning.cli.training import run as pcfrl
from pcfrl_lightning.data import LabelledFolder
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes import LabelProbe, Task
from pcfrl_lightning.probes.features.plain import splits_of
from pcfrl_lightning.probes.labels import kind_of
from pcfrl_lightning.probes.results import blocks
from pcfrl_lightning.probes.tasks.classes import Classes
from pcfrl_lightning.probes.tasks.numbers import Numbers

N, PEOPLE = 120, 12


def look(index):
    """A 16 x 16 image whose four bands tell person, emotion, age and whether there are glasses."""
    image = np.random.default_rng(index).integers(0, 12, (16, 16), dtype=np.uint8)
    image[:4] += np.random.default_rng(1000 + index % PEOPLE).integers(0, 200, (4, 16), dtype=np.uint8)
    image[4:8, 5 * emotion(index) :][:, :5] += np.uint8(40)
    image[8:12] += np.uint8(age(index))
    image[12:] += np.uint8(index // PEOPLE % 2 * 40)
    return image


def emotion(index):
    return index // PEOPLE % 3


def age(index):
    return 18 + 7 * index % 59


@pytest.fixture
def table(tmp_path):
    """Images in `faces` and labels.csv beside them."""
    root = tmp_path / "faces"
    root.mkdir()
    rows = ["image,person,emotion,age,height,wears,split"]
    for i in range(N):
        Image.fromarray(look(i)).save(root / f"{i}.png")
        felt, wears = ("glad", "sad", "tired")[emotion(i)], ("hat", "hat|glasses")[i // PEOPLE % 2]
        split = "test" if i % PEOPLE >= 7 else "train"
        rows.append(f"{i}.png,p{i % PEOPLE},{felt},{age(i)},{age(i) / 40},{wears},{split}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.fixture
def run(table, trainer, tmp_path):
    def go(label, epochs=30, lr=3e-2, stage="fit", data=None, **options):
        cache = {"cache_dir": str(tmp_path / "features"), "baseline": "pixels", "image_size": 16, "batch_size": 16}
        probe, runner = LabelProbe(label, **cache, lr=lr, **options), trainer(epochs)
        data = data or LabelledFolder(
            table, "labels.csv", split_column="split", group_column="person", several_columns=["wears"], num_workers=0
        )
        if stage == "fit":
            runner.fit(probe, data)
        runner.test(probe, data, verbose=False)
        return probe, probe.results["metrics"]["last"]

    return go


def test_classes_of_a_table_with_held_out_people(run):
    probe, found = run("emotion")
    assert found["accuracy"] > 0.8
    assert probe.results["label"] == "emotion"
    person = probe.plan.train.faces.labels["group"]
    chosen, companion = probe.plan.choice.rows, probe.plan.train.rows[probe.plan.train.members[1]]
    assert not set(person[chosen.flatten()].tolist()) & set(person[companion.flatten()].tolist())


def test_numbers_are_in_units_of_the_column_whatever_the_unit(run):
    _, years = run("age")
    assert years["mae"] < 0.4 * years["mae_constant"]
    assert years["r2"] > 0.7
    _, other = run("height")  # the same numbers in another unit
    assert other["mae"] * 40 == pytest.approx(years["mae"], rel=0.2)  # signs of small errors differ by rounding
    assert other["r2"] == pytest.approx(years["r2"], abs=0.1)


def test_the_metrics_of_numbers_by_hand():
    """The error of a constant is that of the median, 0; the mean is 3."""
    outputs, values = torch.tensor([[1.0], [0.0], [7.0]]), torch.tensor([[0.0], [0.0], [9.0]])
    found = Numbers("age").metrics(outputs, {"values": values})
    assert (found["mae"], found["mae_constant"]) == (1.0, 3.0)
    assert found["r2"] == pytest.approx(1 - 5 / 54)


def test_several_classes(run):
    _, found = run("wears")
    assert found["f1"] > 0.9
    assert len(found["label_f1"]) == 2


def test_pairs_of_a_person_column(run):
    with pytest.raises(UsageError, match="run `pcfrl test` alone"):
        run("group", task="pairs")
    probe, found = run("group", task="pairs", stage="test")
    assert blocks(probe.results)["pixels"] == {"metrics": probe.results["metrics"], "lr": None, "best_epoch": None}
    assert probe.results["task"] == "verification"
    assert probe.results["protocol"] == "training-free"
    assert probe.results["folds"] == 2  # of five people
    assert found["auc"] > 0.8


def test_a_metric_by_name_is_reported_and_chooses(run):
    probe, found = run("emotion", epochs=5, metric="multiclass_cohen_kappa", lr=[1e-6, 3e-2])
    assert -1 <= found["multiclass_cohen_kappa"] <= 1
    assert probe.results["chosen_by"] == "multiclass_cohen_kappa"
    assert probe.results["lr"]["last"] == [3e-2]
    probe, found = run("age", epochs=5, metric="mean_squared_error", lr=[1e-6, 3e-2])
    assert found["mean_squared_error"] >= found["mae"] ** 2
    assert probe.results["lr"]["last"] == [3e-2]
    assert run("group", epochs=0, task="pairs", stage="test", metric="binary_average_precision")[1][
        "binary_average_precision"
    ] > 0.7  # fmt: skip


@pytest.mark.parametrize(
    ("values", "names", "kind"),
    [
        ([0, 2, 1, 1], None, "class"),
        ([0, 2, 1, 1], {"y": ["a", "b", "c"]}, "class"),
        ([0, 2, 2, 2], {"y": ["a", "b", "c"]}, "class"),
        ([1, 2, 3, 4], None, "number"),
        ([0, 5, 9, 1], None, "number"),
        ([0.0, 1.0, 1.0, 0.0], None, "number"),
        ([[0.0, 1.0], [1.0, 1.0]], None, "classes"),
        ([[0.0, 1.5], [1.0, 1.0]], None, "number"),
    ],
)
def test_what_a_label_is_by_its_values(faces, values, names, kind):
    assert kind_of(faces("x", {"y": torch.tensor(values)}, class_names=names), "y") == kind


def test_why_a_column_is_no_label(run):
    with pytest.raises(DataError, match="needs the label 'mood', has"):
        run("mood")


class Looks(Dataset):
    def __init__(self, start, keys):
        self.start, self.keys = start, keys

    def __len__(self):
        return 60

    def __getitem__(self, row):
        index = self.start + row
        image = torch.from_numpy(look(index))[None].float() / 255
        return (
            {"image": image, "emotion": emotion(index), "subject": index % PEOPLE}
            if self.keys
            else (image, emotion(index))
        )


@pytest.mark.parametrize("absent", [None, []])
def test_a_module_says_in_either_way_that_it_has_no_split(absent):
    kind = type("WithoutVal", (PlainData,), {"val_dataloader": lambda self: absent})
    assert list(splits_of(kind(), "mood")) == ["train", "test"]


class PlainData(L.LightningDataModule):
    """Knows nothing of this project; its own batch hook would break batches of features."""

    def __init__(self, keys=True):
        super().__init__()
        self.keys = keys

    def setup(self, stage):
        self.ready = True

    def train_dataloader(self):
        assert self.ready
        return DataLoader(Looks(0, self.keys), 16, shuffle=True)

    def test_dataloader(self):
        return DataLoader(Looks(60, self.keys), 16)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        raise AssertionError("not a batch of images")


@pytest.mark.parametrize("keys", [True, False])
def test_any_data_module(run, keys, tmp_path):
    probe, found = run("emotion", data=PlainData(keys))
    assert found["accuracy"] > 0.9
    assert probe.results["dataset"] == "PlainData"
    assert probe.results["splits"]["train"] == {"split": "PlainData/train", "images": 60, "samples": 60}
    assert probe.results["chosen_on"] == "held-out training data"
    if keys:
        subject = torch.arange(60) % PEOPLE
        chosen = probe.plan.choice.rows.flatten()
        companion = probe.plan.train.rows[probe.plan.train.members[1]].flatten()
        assert not set(subject[chosen].tolist()) & set(subject[companion].tolist())
    before = sorted(path.name for path in (tmp_path / "features").glob("*.npy"))
    _, same = run("emotion", data=PlainData(keys))  # the shuffled loader is read in order
    assert sorted(path.name for path in (tmp_path / "features").glob("*.npy")) == before
    assert same == found


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        ([1, 2, 3], r"image.*, 'emotion'.* or \(image, label\), got list"),
        ({"picture": torch.zeros(2, 3, 4, 4)}, r"got \['picture'\]"),
        ((torch.full((2, 3, 4, 4), 2.0), torch.zeros(2)), r"must lie in \[0, 1\]"),
        ((torch.zeros(2, 2, 4, 4), torch.zeros(2)), r"must be \(B, 1 or 3, H, W\), got \(2, 2, 4, 4\)"),
    ],
)
def test_batches_that_a_probe_cannot_use(run, batch, problem):
    data = PlainData()
    type_ = type("Odd", (PlainData,), {"train_dataloader": lambda self: [batch]})
    data = type_()
    with pytest.raises(DataError, match=problem):
        run("emotion", data=data)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"image": torch.zeros(2, 3, 8, 8), "emotion": torch.zeros(2)}, r"images are of sizes \(4, 4\), \(8, 8\)"),
        ({"image": torch.zeros(2, 3, 4, 4)}, "Odd/train: needs the label 'emotion', has none"),
    ],
)
def test_batches_that_do_not_fit_together(run, second, problem):
    first = {"image": torch.zeros(2, 3, 4, 4), "emotion": torch.zeros(2)}
    data = type("Odd", (PlainData,), {"train_dataloader": lambda self: [first, second]})()
    with pytest.raises(DataError, match=problem):
        run("emotion", data=data)


class Parity(Classes):
    """A task of a user, with a setting of its own: whether a number is odd."""

    def __init__(self, label: str, offset: int = 0) -> None:
        super().__init__(label, 2, name="parity")
        self.offset = offset

    def targets(self, faces):
        return {"label": (faces.labels[self.label].long() + self.offset) % 2}

    def facts(self):
        return {"offset": self.offset}


def test_a_task_of_a_user_from_a_yaml(table, tmp_path, monkeypatch):
    """One class in one file, named by class_path: fit, save, load, test, results."""
    assert issubclass(Parity, Task)
    monkeypatch.chdir(tmp_path)
    text = f"""
        seed_everything: 0
        model:
          class_path: pcfrl_lightning.probes.LabelProbe
          init_args:
            label: age
            baseline: pixels
            image_size: 16
            lr: 0.03
            task:
              class_path: {__name__}.Parity
              init_args: {{label: age, offset: 1}}
        data:
          class_path: pcfrl_lightning.data.LabelledFolder
          init_args: {{root: {table}, labels: labels.csv, num_workers: 0}}
        trainer:
          max_epochs: 2
          accelerator: cpu
          enable_progress_bar: false
          enable_model_summary: false
          logger:
            class_path: lightning.pytorch.loggers.CSVLogger
            init_args: {{save_dir: run, name: "", version: ""}}
    """
    (tmp_path / "mine.yaml").write_text(text)
    pcfrl(["fit", "--config", "mine.yaml"])
    (checkpoint,) = tmp_path.glob("run/**/*.ckpt")
    pcfrl(["test", "--config", "mine.yaml", "--ckpt_path", str(checkpoint)])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["task"] == "parity"
    assert results["offset"] == 1
    assert results["epochs"] == 2
