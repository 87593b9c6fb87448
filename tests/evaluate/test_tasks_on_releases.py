"""Every task of `pcfrl evaluate` runs on its data set: miniature releases, a tiny network, one epoch."""

import json
import pickle
import signal
import zipfile

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

import trees
from pcfrl_lightning.cli.evaluate import main
from pcfrl_lightning.data.releases.disfa import PARTS
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.evaluate import run as run_module
from pcfrl_lightning.evaluate.folders import Opened, folders_of
from pcfrl_lightning.evaluate.run import Settings, run_tasks
from pcfrl_lightning.evaluate.tasks import TASKS, Task
from pcfrl_lightning.probes import ExpressionProbe


def fer2013(root):
    for split, prefix in (("train", "Training"), ("validation", "PublicTest"), ("test", "PrivateTest")):
        for number, name in enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")):
            trees.image(root / split / name / f"{prefix}_{number}.jpg", 48, 48)


def disfa(root):
    subjects = [subject for part in PARTS for subject in part]
    trees.disfa_frames(trees.disfa_labels(root, subjects=subjects), "img", "png", subjects=subjects)


def bu3dfe(root):
    trees.bu3dfe(root, tuple(f"F{number:04d}" for number in range(1, 11)))


def bu3dfe_rendered(root):
    for split in ("train", "test"):
        names = [f"{split}{number}.png" for number in range(4)]
        for name in names:
            trees.image(root / name)
        lines = [f"{name},{number % 3},{number % 2}" for number, name in enumerate(names)]
        trees.text(root / f"{split}_list.txt", "\n".join(lines))


def cifar10(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 7]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))


def stl10(root):
    trees.text(root / "stl10_binary" / "class_names.txt", "\n".join("abcdefghij"))
    for part in ("train", "test"):
        np.arange(4 * 3 * 96 * 96).astype(np.uint8).tofile(root / "stl10_binary" / f"{part}_X.bin")
        np.array([1, 10, 4, 4], np.uint8).tofile(root / "stl10_binary" / f"{part}_y.bin")


RELEASES = {
    "fer2013": fer2013,
    "rafdb": trees.rafdb,
    "affectnet7": trees.affectnet_arrays,
    "lfw": trees.lfw,
    "lfw-linear": trees.lfw,
    "cplfw": trees.cplfw,
    "cplfw-linear": trees.cplfw,
    "disfa": disfa,
    "aflw2000": trees.head_pose,
    "bu3dfe": bu3dfe,
    "bu3dfe-pose": bu3dfe_rendered,
    "celeba": trees.celeba,
    "300w": trees.landmarks_300w,
    "wflw": trees.wflw,
    "cifar10": cifar10,
    "stl10": stl10,
}


def test_every_task_has_a_release():
    assert set(RELEASES) == {task.name for task in TASKS}


@pytest.fixture
def _any_checksum(monkeypatch):
    """Torchvision's checksums are those of the real sets."""
    for module in ("cifar", "stl10"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)


@pytest.mark.usefixtures("_any_checksum")
@pytest.mark.parametrize("name", list(RELEASES))
def test_task_runs_on_its_release(checkpoint, tmp_path, name):
    (task,) = (task for task in TASKS if task.name == name)
    RELEASES[name](tmp_path / "data" / task.folder)
    settings = Settings(checkpoint, tmp_path / "out", epochs=1, progress=False, accelerator="cpu")
    open_data = folders_of(tmp_path / "data")
    (row,) = run_tasks([task._replace(image_size=32)], ["pretrained"], settings, open_data)
    assert (row.status, row.message) == ("measured", "")
    assert row.value is not None
    assert row.value >= 0


def test_real_head_pose_samples_through_the_whole_path(checkpoint, shared_data, tmp_path):
    """One training and sixteen test images of the official releases: mat files, crops, features, head, results.json."""
    for name in ("aflw2000_sample.zip", "300w_lp_sample.zip"):
        with zipfile.ZipFile(shared_data / name) as archive:
            archive.extractall(tmp_path / "data/300w-lp")
    arguments = ["--tasks", "aflw2000", "--with-random", "--epochs", "2", "--out", str(tmp_path / "out")]
    assert main([checkpoint, "--data-root", str(tmp_path / "data"), *arguments]) == 0
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert {row["message"] for row in rows} == {"trained on one image, so the figure says nothing"}
    for weights in ("pretrained", "random_init"):
        results = json.loads((tmp_path / "out/aflw2000" / weights / "results.json").read_text())
        assert results["splits"]["train"]["samples"] == 1
        assert results["splits"]["test"]["samples"] == 16
        assert results["cropping"] == "LandmarkCrop(margin=0.25)"
        error = results["metrics"]["last"]
        assert 0 < error["mae_mean"] < 99
        assert error["mae_mean"] == pytest.approx(
            np.mean([error[f"mae_{angle}"] for angle in ("yaw", "pitch", "roll")])
        )


class BrokenProbe(ExpressionProbe):
    """A probe with a defect, whose message looks like the markup of a table."""

    def training_step(self, batch, batch_idx):
        raise RuntimeError("[/red] shapes cannot be multiplied\nmore")


class InterruptedProbe(ExpressionProbe):
    """Somebody presses Ctrl-C while it trains."""

    def training_step(self, batch, batch_idx):
        raise KeyboardInterrupt


def test_a_defect_in_one_task_does_not_stop_the_others(checkpoint, faces, tmp_path):
    broken, sound = (
        Task(name, "synthetic", "", probe, 32, "accuracy")
        for name, probe in (("broken", BrokenProbe), ("sound", ExpressionProbe))
    )
    settings = Settings(checkpoint, tmp_path / "out", epochs=1, progress=False, accelerator="cpu")
    first, second = run_tasks([broken, sound], ["pretrained"], settings, lambda _: Opened(faces))
    place = tmp_path / "out/broken/pretrained/traceback.txt"
    assert first.status == "failed"
    assert first.message == f"RuntimeError: [/red] shapes cannot be multiplied (see {place})"
    assert "in training_step" in place.read_text()
    assert second.status == "measured"


class Unreadable(Dataset):
    """Images of which the first is broken."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise DataError("x/test: image 0 cannot be read")


def test_an_error_in_a_process_of_a_loader_is_told_without_its_traceback(checkpoint, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "measure", lambda *_: list(DataLoader(Unreadable(), num_workers=1)))
    settings = Settings(checkpoint, tmp_path / "out", progress=False)
    (row,) = run_tasks(TASKS[:1], ["pretrained"], settings, lambda _: Opened(faces))
    assert row.message == "DataError: x/test: image 0 cannot be read"


def test_after_a_defect_table_summary_and_exit_status_come_out(checkpoint, tmp_path, capsys, monkeypatch):
    trees.rafdb(tmp_path / "data" / "rafdb")
    broken = Task("broken", "rafdb", "rafdb", BrokenProbe, 32, "accuracy")
    tasks = [broken, broken._replace(name="sound", probe=ExpressionProbe)]
    monkeypatch.setattr("pcfrl_lightning.cli.evaluate.tasks_named", lambda _: tasks)
    arguments = [checkpoint, "--data-root", str(tmp_path / "data"), "--epochs", "1", "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "failed" in printed
    assert "[/red]" in printed
    first, second = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert (first["status"], second["status"]) == ("failed", "measured")
    assert first["message"].startswith("RuntimeError: [/red] shapes cannot be multiplied")
    assert second["value"] is not None


def test_a_data_set_that_cannot_be_opened_is_a_row(checkpoint, tmp_path):
    def open_data(task):
        raise ValueError("no such option")

    settings = Settings(checkpoint, tmp_path, progress=False)
    rows = list(run_tasks(TASKS[:2], ["random_init", "pretrained"], settings, open_data))
    assert [(row.status, row.message) for row in rows] == [("failed", "ValueError: no such option")] * 4


def test_control_c_stops_everything(checkpoint, tmp_path):
    def open_data(task):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_tasks(TASKS, ["pretrained"], Settings(checkpoint, tmp_path, progress=False), open_data))


def test_control_c_in_a_probe_stops_everything(checkpoint, faces, tmp_path):
    tasks = [Task(name, "synthetic", "", InterruptedProbe, 32, "accuracy") for name in ("first", "second")]
    settings = Settings(checkpoint, tmp_path / "out", epochs=1, progress=False, accelerator="cpu")
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):  # Lightning tidies up and exits
            list(run_tasks(tasks, ["pretrained"], settings, lambda _: Opened(faces)))
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores further presses
    assert not (tmp_path / "out" / "second").exists()
