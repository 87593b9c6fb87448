"""`--cropping` and `--option` of `pcfrl evaluate`: they reach the data sets, and results and summary say so."""

import json

import pytest

import trees
from pcfrl_lightning.cli.evaluate import main
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, NoCrop, YuNetCrop
from pcfrl_lightning.data.releases.disfa import PARTS
from pcfrl_lightning.evaluate.folders import folders_of
from pcfrl_lightning.evaluate.run import Settings, run_tasks
from pcfrl_lightning.evaluate.tasks import TASKS
from pcfrl_lightning.probes.results import cropping_of

BY_NAME = {task.name: task for task in TASKS}
TREES = {
    "rafdb": trees.rafdb,
    "lfw": trees.lfw,
    "cplfw": trees.cplfw,
    "aflw2000": trees.head_pose,
    "300w": trees.landmarks_300w,
    "wflw": trees.wflw,
}


def evaluate(checkpoint, tmp_path, capsys, *arguments):
    """Exit status, summary and results.json by task of a run of one epoch."""
    root, out = tmp_path / "data", tmp_path / "out"
    status = main([checkpoint, "--data-root", str(root), "--out", str(out), "--epochs", "1", *arguments])
    capsys.readouterr()
    summary = json.loads((out / "summary.json").read_text())
    results = {path.parts[-3]: json.loads(path.read_text()) for path in out.glob("*/*/results.json")}
    return status, summary, results


def test_cropping_reaches_the_data_sets_that_take_one(tmp_path):
    for name in ("aflw2000", "fer2013"):
        (tmp_path / BY_NAME[name].folder).mkdir()
    cropping = NoCrop()
    open_data = folders_of(tmp_path, cropping)
    assert open_data(BY_NAME["aflw2000"]).data.cropping is cropping  # instead of its LandmarkCrop
    assert open_data(BY_NAME["aflw2000"]).note == ""
    assert not hasattr(open_data(BY_NAME["fer2013"]).data, "cropping")
    assert open_data(BY_NAME["fer2013"]).note == "fer2013 has no cropping to choose"


@pytest.mark.parametrize(
    ("name", "cropping", "shown"),
    [
        ("rafdb", None, "NoCrop()"),
        ("aflw2000", None, "LandmarkCrop(margin=0.25)"),
        ("aflw2000", NoCrop(), "NoCrop()"),
    ],
)
def test_results_say_how_faces_were_cut_out(checkpoint, tmp_path, name, cropping, shown):
    TREES[name](tmp_path / "data" / BY_NAME[name].folder)
    settings = Settings(checkpoint, tmp_path / "out", epochs=1, progress=False, accelerator="cpu")
    open_data = folders_of(tmp_path / "data", cropping)
    (row,) = run_tasks([BY_NAME[name]._replace(image_size=32)], ["pretrained"], settings, open_data)
    stored = json.loads((tmp_path / "out" / name / "pretrained" / "results.json").read_text())
    assert row.summary()["cropping"] == stored["cropping"] == shown


def test_detector_is_named_without_its_folder(tmp_path):
    model = tmp_path / "yunet.onnx"
    model.touch()
    (tmp_path / "lfw").mkdir()
    opened = folders_of(tmp_path, YuNetCrop(model, margin=0.2))(BY_NAME["lfw"])
    assert cropping_of(opened.data) == "YuNetCrop(model_path=yunet.onnx, margin=0.2, score=0.6)"


@pytest.mark.parametrize(
    ("asked", "kept", "applied", "messages"),
    [
        (
            "none",
            dict.fromkeys(("300w", "wflw"), "LandmarkCrop(margin=0.25)"),
            dict.fromkeys(("rafdb", "lfw", "cplfw", "aflw2000"), "NoCrop()"),
            [
                "kept LandmarkCrop(margin=0.25): 300w is cut by LandmarkCrop always, since the landmarks are the "
                "labels; not by NoCrop"
            ],
        ),
        (
            "landmarks",
            dict.fromkeys(("rafdb", "lfw", "cplfw"), "NoCrop()")
            | dict.fromkeys(("300w", "wflw", "aflw2000"), "LandmarkCrop(margin=0.25)"),
            {},
            [
                "kept LandmarkCrop(margin=0.25): head pose: UprightCrop would turn away the roll, which is a label",
                "kept NoCrop(): LFW has no landmarks: use NoCrop or YuNetCrop",
                "kept NoCrop(): CPLFW has landmarks for folder 'images' only, not for 'aligned images'",
            ],
        ),
    ],
)
def test_a_data_set_that_an_alignment_does_not_suit_keeps_its_own(
    checkpoint, tmp_path, capsys, asked, kept, applied, messages
):
    for name, make in TREES.items():
        make(tmp_path / "data" / BY_NAME[name].folder)
    status, summary, results = evaluate(checkpoint, tmp_path, capsys, "--tasks", *TREES, "--cropping", asked)
    rows = {row["task"]: row for row in summary["rows"]}
    assert status == 0, summary
    assert summary["cropping"] == asked
    assert {name: row["cropping"] for name, row in rows.items()} == kept | applied
    assert {name: stored["cropping"] for name, stored in results.items()} == kept | applied
    assert {name for name, row in rows.items() if row["message"]} == set(kept)
    assert {row["status"] for row in rows.values()} == {"measured"}
    assert set(messages) <= {row["message"] for row in rows.values()}


def test_landmarks_with_the_images_that_have_them(checkpoint, tmp_path, capsys):
    for name in ("rafdb", "cplfw"):
        TREES[name](tmp_path / "data" / name)
    options = ["--option", "rafdb.images=original", "--option", "cplfw.folder=images"]
    status, summary, results = evaluate(
        checkpoint, tmp_path, capsys, "--tasks", "rafdb", "cplfw", "--cropping", "landmarks", *options
    )
    assert status == 0
    assert summary["options"] == ["rafdb.images=original", "cplfw.folder=images"]
    assert [row["message"] for row in summary["rows"]] == ["", ""]
    assert {stored["cropping"] for stored in results.values()} == {"UprightCrop(margin=0.25)"}
    assert results["rafdb"]["data"] == {"images": "original", "read_from": ["original"]}
    assert results["cplfw"]["data"] == {"folder": "images", "read_from": ["images"]}


def test_disfa_with_the_right_camera_alone(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "other"))
    subjects = [subject for part in PARTS for subject in part]
    root = trees.disfa_labels(tmp_path / "data" / "disfa", subjects=subjects)
    for subject in subjects:
        trees.video(root / "Video_RightCamera" / f"RightVideo{subject}_Comp.avi", 5)
    assert evaluate(checkpoint, tmp_path, capsys, "--tasks", "disfa")[0] == 1
    options = ["--option", "disfa.camera=right", "--option", f"disfa.frame_folder={tmp_path / 'cache'}"]
    status, summary, results = evaluate(checkpoint, tmp_path, capsys, "--tasks", "disfa", *options)
    assert status == 0, summary
    assert summary["options"] == ["disfa.camera=right", "disfa.frame_folder=cache"]
    told = results["disfa"]["data"]
    assert (told["camera"], told["fold"], told["frame_folder"], told["subjects"]) == (
        "right",
        None,
        "cache",
        sorted(subjects),
    )
    assert told["read_from"][0].startswith("right-")
    assert str(tmp_path) not in json.dumps(told)


def test_options_belong_to_one_task_and_go_before_the_alignment(tmp_path):
    (tmp_path / "cplfw").mkdir()
    crop = LandmarkCrop(0.5)
    open_data = folders_of(tmp_path, NoCrop(), {"cplfw": {"folder": "images", "cropping": crop}})
    first, second = open_data(BY_NAME["cplfw"]).data, open_data(BY_NAME["cplfw-linear"]).data
    assert (first.folder, second.folder) == ("images", "aligned images")
    assert first.cropping is crop
    assert isinstance(second.cropping, NoCrop)
    assert open_data(BY_NAME["cplfw"]).data is first
