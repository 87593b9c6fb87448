"""Every task of `pcfrl evaluate` runs on its data set: miniature releases, a tiny network, one epoch."""

import json

import pytest

import trees
from pcfrl_lightning.cli.evaluate import main
from pcfrl_lightning.data.alignment import NoAlignment
from pcfrl_lightning.evaluation.run import Settings, folders_of, run_tasks
from pcfrl_lightning.evaluation.tasks import TASKS, Task
from pcfrl_lightning.probes import ExpressionProbe


def fer2013(root):
    for split, prefix in (("train", "Training"), ("validation", "PublicTest"), ("test", "PrivateTest")):
        for number, name in enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")):
            trees.image(root / split / name / f"{prefix}_{number}.jpg", 48, 48)


def disfa(root):
    trees.disfa_frames(trees.disfa_labels(root), "img", "png")


def bu3dfe(root):
    trees.bu3dfe(root, tuple(f"F{number:04d}" for number in range(1, 11)))


def bu3dfe_rendered(root):
    for split in ("train", "test"):
        names = [f"{split}{number}.png" for number in range(4)]
        for name in names:
            trees.image(root / name)
        lines = [f"{name},{number % 3},{number % 2}" for number, name in enumerate(names)]
        trees.text(root / f"{split}_list.txt", "\n".join(lines))


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
}
TORCHVISION = {"cifar10", "stl10"}  # read by torchvision, tests/data/downstream


def test_every_task_has_a_release():
    assert set(RELEASES) | TORCHVISION == {task.name for task in TASKS}


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


class BrokenProbe(ExpressionProbe):
    """A probe with a defect."""

    def loss(self, outputs, targets):
        raise RuntimeError("shapes cannot be multiplied\nmore")


def test_a_defect_in_one_task_does_not_stop_the_others(checkpoint, faces, tmp_path):
    broken, sound = (
        Task(name, "synthetic", "", probe, 32, "accuracy")
        for name, probe in (("broken", BrokenProbe), ("sound", ExpressionProbe))
    )
    settings = Settings(checkpoint, tmp_path / "out", epochs=1, progress=False, accelerator="cpu")
    first, second = run_tasks([broken, sound], ["pretrained"], settings, lambda _: faces)
    place = tmp_path / "out/broken/pretrained/traceback.txt"
    assert first.status == "failed"
    assert first.message == f"RuntimeError: shapes cannot be multiplied (see {place})"
    assert "in loss" in place.read_text()
    assert second.status == "measured"


def test_a_data_set_that_cannot_be_opened_is_a_row(checkpoint, tmp_path):
    def open_data(task):
        raise ValueError("no such option")

    settings = Settings(checkpoint, tmp_path, progress=False)
    rows = run_tasks(TASKS[:2], ["random_init", "pretrained"], settings, open_data)
    assert [(row.status, row.message) for row in rows] == [("failed", "no such option")] * 4


def test_control_c_stops_everything(checkpoint, tmp_path):
    def open_data(task):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(TASKS, ["pretrained"], Settings(checkpoint, tmp_path, progress=False), open_data)


def test_alignment_reaches_the_data_sets_that_take_one(tmp_path):
    tasks = {task.name: task for task in TASKS}
    for name in ("aflw2000", "fer2013"):
        (tmp_path / tasks[name].folder).mkdir()
    alignment = NoAlignment()
    open_data = folders_of(tmp_path, alignment)
    assert open_data(tasks["aflw2000"]).alignment is alignment  # instead of its LandmarkCrop
    assert not hasattr(open_data(tasks["fer2013"]), "alignment")


def test_alignment_is_an_option_and_stands_in_the_summary(checkpoint, tmp_path, capsys):
    trees.rafdb(tmp_path / "data" / "rafdb")
    arguments = [checkpoint, "--data-root", str(tmp_path / "data"), "--tasks", "rafdb", "--epochs", "1"]
    out = tmp_path / "out"
    assert main([*arguments, "--alignment", "landmarks", "--out", str(out)]) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert summary["alignment"] == "landmarks"
    assert "no landmarks" in summary["rows"][0]["message"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alignment", "yunet"], "--alignment yunet and --yunet-model PATH belong together"),
        (["--yunet-model", "x.onnx"], "--alignment yunet and --yunet-model PATH belong together"),
        (["--alignment", "yunet", "--yunet-model", "absent.onnx"], "YuNet model absent.onnx does not exist"),
        (["--alignment", "eyes"], "invalid choice"),
    ],
)
def test_alignment_mistakes_are_told_first(checkpoint, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        main([checkpoint, "--data-root", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
