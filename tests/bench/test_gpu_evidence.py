"""The script for a bare GPU machine: parts end in time, what was measured stays, all methods see the same images."""

import json
import runpy
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pcfrl_lightning.data import FER2013
from tiny import TinyFaces, tiny_model, trainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The script's names; functions find each other in the dictionary that is patched."""
    found = runpy.run_path(str(BENCHMARKS / "gpu_evidence.py"))
    return found["main"].__globals__


@pytest.fixture
def zips(tmp_path: Path) -> Path:
    """The two archives with a few images of each split and class."""
    folder = tmp_path / "source"
    folder.mkdir()
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(picture)
    for name, splits in (("fer2013_train.zip", ["train"]), ("fer2013_eval.zip", ["validation", "test"])):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for split in splits:
                for row in range(6):
                    archive.writestr(f"{split}/{('happy', 'sad')[row % 2]}/{row}.png", picture.read_bytes())
    return folder


def options(zips: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(zips), "--out", str(out), "--width", "0.0625", "--minutes", "10", *more]


def test_all_parts_run_in_order_with_the_same_epochs(
    evidence: dict[str, Any], zips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, out = [], tmp_path / "out"

    def process(self: Any, name: str, arguments: list[str], limit: float) -> str:
        started.append((name, arguments, limit))
        if name == "waits":
            return "failed with exit status 1"
        files = {name: f"{name}.json" for name in ("bench", "bench_plain", "epoch")}
        method = name.partition("_")[2]
        path = out / files.get(name, f"trained_{method}.json" if "train" in name else f"fer2013/{method}/summary.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"seconds": 4.0}')
        return "done"

    monkeypatch.setattr(evidence["Evidence"], "_process", process)
    assert evidence["main"](options(zips, out)) == 1  # one part failed, the others went on
    stored = json.loads((out / "results.json").read_text())
    methods = ["pcfrl", "pcl", "simclr"]
    names = ["bench", "bench_plain", "waits", "epoch"]
    names += [f"{what}_{each}" for each in methods for what in ("train", "evaluate")]
    assert [name for name, _, _ in started] == names
    assert list(stored["parts"]) == ["machine", *names]
    assert stored["parts"]["waits"]["status"] == "failed with exit status 1"
    assert stored["parts"]["evaluate_simclr"]["result"] == {"seconds": 4.0}
    configs = [yaml.safe_load((out / f"{each}.yaml").read_text()) for each in methods]
    assert len({config["trainer"]["max_epochs"] for config in configs}) == 1
    assert 5 < configs[0]["trainer"]["max_epochs"] < 10 * 60 / 3 / 4
    assert configs[0]["data"] == configs[1]["data"] == configs[2]["data"]
    assert configs[0]["model"] == configs[2]["model"]
    assert "pcfrl:method/pcl" in started[6][1]
    assert all(0 < limit <= 600 for _, _, limit in started)


def test_a_process_ends_at_its_limit_and_what_was_measured_stays(
    evidence: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys, time\nprint('begun', flush=True)\nif sys.argv[-1] == 'slow': time.sleep(60)\n")
    monkeypatch.setattr(evidence["sys"], "executable", sys.executable)
    popen = evidence["subprocess"].Popen

    def stand_in(command: list[str], **more: Any) -> Any:
        return popen([command[0], str(program), command[-1]], **more)

    monkeypatch.setattr(evidence["subprocess"], "Popen", stand_in)
    made = evidence["Evidence"](SimpleNamespace(out=tmp_path, minutes=1.0))
    result = tmp_path / "result.json"
    result.write_text('{"value": 3}')
    assert made.run("first", ["quick"], result, 30) is True
    assert made.run("second", ["slow"], result, 5.0) is False
    assert made.run("third", ["quick"], tmp_path / "none.json", 30) is False
    made.options.minutes = 0
    assert made.run("fourth", ["quick"], result, 30) is False
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    states = [part["status"] for part in parts.values()]
    assert states[:2] == ["done", "ended at its time limit"]
    assert states[2].startswith("failed: no result")
    assert states[3] == "skipped: no time left"
    assert parts["first"]["result"] == {"value": 3}
    assert "result" not in parts["second"]
    assert parts["second"]["seconds"] < 30
    assert (tmp_path / "second.log").read_text() == "begun\n"


def test_epochs_that_fit(evidence: dict[str, Any]) -> None:
    fits = evidence["epochs_that_fit"]
    assert fits(600, 2.0, 3, 30) == int(0.85 * (200 - 30 - 75) / 2)
    assert fits(10, 2.0, 3, 30) == 1


def test_a_part_of_the_data_has_all_splits(evidence: dict[str, Any], zips: Path, tmp_path: Path) -> None:
    evidence["provide"](zips, tmp_path / "data/fer2013", 9)
    with zipfile.ZipFile(tmp_path / "data/fer2013/fer2013_part.zip") as archive:
        names = archive.namelist()
    assert len(names) == 9
    assert {name.partition("/")[0] for name in names} == {"train", "validation", "test"}
    evidence["provide"](zips, tmp_path / "all/fer2013", None)
    assert set(FER2013(tmp_path / "all/fer2013", image_size=32).build()) == {"train", "val", "test"}


def test_the_second_epoch_is_watched(evidence: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modes of the driver, which are not set without a GPU, at every step."""
    modes: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: modes.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    watch = evidence["WatchedEpoch"](str(tmp_path / "w.json"))
    batch = {"face_1": torch.zeros(8, 3)}
    module = SimpleNamespace()
    for epoch in range(3):
        state = SimpleNamespace(current_epoch=epoch, num_training_batches=4)
        watch.on_train_epoch_start(state, module)
        for step in range(4):
            modes.append((epoch, step))
            watch.on_train_batch_end(state, module, None, batch, step)
    one = [(1, step) for step in range(4)]
    zero, two = ([(epoch, step) for step in range(4)] for epoch in (0, 2))
    assert modes == [*zero, "synchronize", "error", *one, "default", "synchronize", *two]
    facts = json.loads((tmp_path / "w.json").read_text())
    assert (facts["steps"], facts["waits"]) == (4, "none")
    assert facts["images_per_second"] == pytest.approx(32 / facts["seconds"])


def test_a_run_says_what_it_has_done(evidence: dict[str, Any], tmp_path: Path) -> None:
    trained, watch = tmp_path / "t.json", tmp_path / "w.json"
    callbacks = [evidence["Trained"](str(trained)), evidence["WatchedEpoch"](str(watch))]
    trainer(tmp_path, max_epochs=2, callbacks=callbacks).fit(tiny_model(), TinyFaces(batch_size=8))
    facts = json.loads(trained.read_text())
    assert (facts["epochs"], facts["steps"], facts["images_seen"]) == (2, 4, 32)
    assert facts["seconds"] > 0
    assert json.loads(watch.read_text())["waits"] == "not measured: no GPU"
