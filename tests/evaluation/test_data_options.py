"""`--alignment` and `--option` of `pcfrl evaluate`: they reach the data sets, and results and summary say so."""

import json

import pytest

import trees
from pcfrl_lightning.cli.evaluate import main
from pcfrl_lightning.data.alignment import LandmarkCrop, NoAlignment, YuNetCrop
from pcfrl_lightning.data.disfa_labels import PARTS
from pcfrl_lightning.evaluation.folders import folders_of
from pcfrl_lightning.evaluation.run import Settings, run_tasks
from pcfrl_lightning.evaluation.tasks import TASKS
from pcfrl_lightning.probes.results import alignment_of

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


def test_alignment_reaches_the_data_sets_that_take_one(tmp_path):
    for name in ("aflw2000", "fer2013"):
        (tmp_path / BY_NAME[name].folder).mkdir()
    alignment = NoAlignment()
    open_data = folders_of(tmp_path, alignment)
    assert open_data(BY_NAME["aflw2000"]).data.alignment is alignment  # instead of its LandmarkCrop
    assert open_data(BY_NAME["aflw2000"]).note == ""
    assert not hasattr(open_data(BY_NAME["fer2013"]).data, "alignment")
    assert open_data(BY_NAME["fer2013"]).note == "fer2013 has no alignment to choose"


@pytest.mark.parametrize(
    ("name", "alignment", "shown"),
    [
        ("rafdb", None, "NoAlignment()"),
        ("aflw2000", None, "LandmarkCrop(margin=0.25)"),
        ("aflw2000", NoAlignment(), "NoAlignment()"),
    ],
)
def test_results_say_how_faces_were_cut_out(checkpoint, tmp_path, name, alignment, shown):
    TREES[name](tmp_path / "data" / BY_NAME[name].folder)
    settings = Settings(checkpoint, tmp_path / "out", epochs=1, progress=False, accelerator="cpu")
    open_data = folders_of(tmp_path / "data", alignment)
    (row,) = run_tasks([BY_NAME[name]._replace(image_size=32)], ["pretrained"], settings, open_data)
    stored = json.loads((tmp_path / "out" / name / "pretrained" / "results.json").read_text())
    assert row.summary()["alignment"] == stored["alignment"] == shown


def test_detector_is_named_without_its_folder(tmp_path):
    model = tmp_path / "yunet.onnx"
    model.touch()
    (tmp_path / "lfw").mkdir()
    opened = folders_of(tmp_path, YuNetCrop(model, margin=0.2))(BY_NAME["lfw"])
    assert alignment_of(opened.data) == "YuNetCrop(model_path=yunet.onnx, margin=0.2, score=0.6)"


@pytest.mark.parametrize(
    ("asked", "kept", "applied", "messages"),
    [
        (
            "none",
            dict.fromkeys(("300w", "wflw"), "LandmarkCrop(margin=0.25)"),
            dict.fromkeys(("rafdb", "lfw", "cplfw", "aflw2000"), "NoAlignment()"),
            [
                "kept LandmarkCrop(margin=0.25): 300w is cut by LandmarkCrop always, since the landmarks are the "
                "labels; not by NoAlignment"
            ],
        ),
        (
            "landmarks",
            dict.fromkeys(("rafdb", "lfw", "cplfw"), "NoAlignment()")
            | dict.fromkeys(("300w", "wflw", "aflw2000"), "LandmarkCrop(margin=0.25)"),
            {},
            [
                "kept LandmarkCrop(margin=0.25): head pose: LandmarkAlign would turn away the roll, which is a label",
                "kept NoAlignment(): LFW has no landmarks: use NoAlignment or YuNetCrop",
                "kept NoAlignment(): CPLFW has landmarks for folder 'images' only, not for 'aligned images'",
            ],
        ),
    ],
)
def test_a_data_set_that_an_alignment_does_not_suit_keeps_its_own(
    checkpoint, tmp_path, capsys, asked, kept, applied, messages
):
    for name, make in TREES.items():
        make(tmp_path / "data" / BY_NAME[name].folder)
    status, summary, results = evaluate(checkpoint, tmp_path, capsys, "--tasks", *TREES, "--alignment", asked)
    rows = {row["task"]: row for row in summary["rows"]}
    assert status == 0, summary
    assert summary["alignment"] == asked
    assert {name: row["alignment"] for name, row in rows.items()} == kept | applied
    assert {name: stored["alignment"] for name, stored in results.items()} == kept | applied
    assert {name for name, row in rows.items() if row["message"]} == set(kept)
    assert {row["status"] for row in rows.values()} == {"measured"}
    assert set(messages) <= {row["message"] for row in rows.values()}


def test_landmarks_with_the_images_that_have_them(checkpoint, tmp_path, capsys):
    for name in ("rafdb", "cplfw"):
        TREES[name](tmp_path / "data" / name)
    options = ["--option", "rafdb.images=original", "--option", "cplfw.folder=images"]
    status, summary, results = evaluate(
        checkpoint, tmp_path, capsys, "--tasks", "rafdb", "cplfw", "--alignment", "landmarks", *options
    )
    assert status == 0
    assert summary["options"] == ["rafdb.images=original", "cplfw.folder=images"]
    assert [row["message"] for row in summary["rows"]] == ["", ""]
    assert {stored["alignment"] for stored in results.values()} == {"LandmarkAlign(margin=0.25)"}
    assert results["rafdb"]["data"] == {"images": "original", "read_from": ["original"]}
    assert results["cplfw"]["data"] == {"folder": "images", "read_from": ["images"]}


def test_disfa_with_the_right_camera_alone(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "other"))
    subjects = [subject for part in PARTS for subject in part]
    root = trees.disfa_labels(tmp_path / "data" / "disfa", subjects=subjects)
    for subject in subjects:
        trees.video(root / "Video_RightCamera" / f"RightVideo{subject}_Comp.avi", 5)
    assert evaluate(checkpoint, tmp_path, capsys, "--tasks", "disfa")[0] == 1
    options = ["--option", "disfa.camera=right", "--option", f"disfa.cache={tmp_path / 'cache'}"]
    status, summary, results = evaluate(checkpoint, tmp_path, capsys, "--tasks", "disfa", *options)
    assert status == 0, summary
    assert summary["options"] == ["disfa.camera=right", "disfa.cache=cache"]
    told = results["disfa"]["data"]
    assert (told["camera"], told["fold"], told["cache"], told["subjects"]) == ("right", None, "cache", sorted(subjects))
    assert told["read_from"][0].startswith("right-")
    assert str(tmp_path) not in json.dumps(told)


def test_options_belong_to_one_task_and_go_before_the_alignment(tmp_path):
    (tmp_path / "cplfw").mkdir()
    crop = LandmarkCrop(0.5)
    open_data = folders_of(tmp_path, NoAlignment(), {"cplfw": {"folder": "images", "alignment": crop}})
    first, second = open_data(BY_NAME["cplfw"]).data, open_data(BY_NAME["cplfw-linear"]).data
    assert (first.folder, second.folder) == ("images", "aligned images")
    assert first.alignment is crop
    assert isinstance(second.alignment, NoAlignment)
    assert open_data(BY_NAME["cplfw"]).data is first
