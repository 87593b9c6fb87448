"""`pcfrl evaluate`: absent and broken data sets are rows of the table, measured ones have results.json."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import trees
from pcfrl_lightning.cli.evaluate import main
from pcfrl_lightning.data.releases.registry import DATA_SETS
from pcfrl_lightning.errors import Stopped
from pcfrl_lightning.evaluate import run as run_module
from pcfrl_lightning.evaluate.folders import Opened
from pcfrl_lightning.evaluate.run import Row, Settings, run_tasks
from pcfrl_lightning.evaluate.summary import Summary, default_folder, source_name, source_sha256, write_csv
from pcfrl_lightning.evaluate.table import better, format_value, results_table
from pcfrl_lightning.evaluate.tasks import TASKS, tasks_named
from pcfrl_lightning.files import file_sha256
from pcfrl_lightning.networks.encoder import load_encoder
from pcfrl_lightning.printing import plain_console
from pcfrl_lightning.probes.results import blocks
from pcfrl_lightning.reports.demo import TASKS as DEMO_TASKS

ROOT = Path(__file__).parents[2]


def shown(table) -> str:
    console = plain_console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_every_task_names_a_known_data_set_once():
    assert {task.data for task in TASKS} <= set(DATA_SETS)
    assert len({task.name for task in TASKS}) == len(TASKS)


def test_examples_of_the_documentation_use_the_folders_of_the_tasks():
    folders = {task.data: task.folder for task in TASKS}
    examples = re.findall(r"pcfrl data check (\S+) data/(\S+)", (ROOT / "docs" / "data.md").read_text())
    assert len(examples) > 10
    assert [folder for _, folder in examples] == [folders[name] for name, _ in examples]


def test_page_on_evaluation_lists_the_tasks():
    (listed,) = re.findall(r"^Tasks: `([^`]+)`", (ROOT / "docs" / "evaluation.md").read_text(), re.MULTILINE)
    assert listed.split() == [task.name for task in TASKS]


def test_missing_data_sets_are_listed(checkpoint, tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    out = tmp_path / "out"
    assert main([checkpoint, "--data-root", str(root), "--out", str(out)]) == 1  # there is nothing to evaluate
    printed = capsys.readouterr().out
    for task in TASKS:
        assert task.name in printed
    assert printed.count("absent") == len(TASKS)
    summary = json.loads((out / "summary.json").read_text())
    assert [row["status"] for row in summary["rows"]] == ["absent"] * len(TASKS)
    assert all("no folder" in row["message"] and row["value"] is None for row in summary["rows"])


def test_broken_data_set_is_a_failure_with_a_reason(checkpoint, tmp_path, capsys):
    (tmp_path / "data" / "fer2013").mkdir(parents=True)
    arguments = [checkpoint, "--data-root", str(tmp_path / "data"), "--tasks", "fer2013", "stl10"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert [(row["task"], row["status"]) for row in rows] == [("fer2013", "failed"), ("stl10", "absent")]
    assert "fer2013" in rows[0]["message"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "fer2031"], "unknown task fer2031; did you mean fer2013?; known are fer2013"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--feature", "f_x"], "has no feature f_x; it has f_s, f_f, f_p, concat"),
        (["--weights", "w.pth"], "--weights goes with timm:NAME or torchvision:NAME"),
        (["--data-root", "/no/such/folder"], "is not a folder"),
        (["--cropping", "yunet"], "--cropping yunet and --yunet-model PATH belong together"),
        (["--yunet-model", "x.onnx"], "--cropping yunet and --yunet-model PATH belong together"),
        (["--cropping", "yunet", "--yunet-model", "absent.onnx"], "YuNet model absent.onnx does not exist"),
        (["--cropping", "eyes"], "invalid choice"),
        (
            ["--option", "camera=right"],
            "--option camera=right: expected TASK.KEY=VALUE with a task that is run: fer",
        ),
        (["--tasks", "lfw", "--option", "disfa.camera=right"], "expected TASK.KEY=VALUE with a task that is run: lfw"),
        (
            ["--option", "disfa.camra=right"],
            "--option disfa.camra=right: disfa has no such option; it takes fold",
        ),
        (["--option", "disfa.camera=middle"], "--option disfa.camera: takes left or right, not 'middle'"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(checkpoint, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main([checkpoint, "--data-root", str(tmp_path), *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_folder_of_a_run_stands_for_the_weights_in_it(checkpoint, tmp_path):
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint, tmp_path / "run/checkpoints/last.ckpt")
    load_encoder(checkpoint).save(tmp_path / "exported")
    assert source_sha256(str(tmp_path / "run")) == source_sha256(checkpoint)
    assert source_sha256(str(tmp_path / "exported")) == file_sha256(tmp_path / "exported/model.safetensors")


def run(checkpoint, root, out, *arguments) -> tuple[int, dict]:
    status = main([checkpoint, "--data-root", str(root), "--out", str(out), "--epochs", "2", *arguments])
    return status, json.loads((out / "summary.json").read_text())


@pytest.fixture
def releases(tmp_path, monkeypatch):
    """RAF-DB and LFW in miniature, at 32 px."""
    small = tuple(task._replace(image_size=32) for task in TASKS)
    monkeypatch.setattr("pcfrl_lightning.evaluate.tasks.tasks_named.__defaults__", (small,))
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    trees.rafdb(tmp_path / "data/rafdb")
    trees.lfw(tmp_path / "data/lfw")
    return tmp_path / "data"


def test_later_runs_of_the_same_settings_add_to_the_summary(checkpoint, releases, tmp_path, capsys):
    status, first = run(checkpoint, releases, tmp_path / "out", "--tasks", "rafdb", "disfa")
    assert status == 0
    status, second = run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw")
    assert status == 0
    assert second["rows"][:2] == first["rows"]
    assert [(row["task"], row["status"]) for row in second["rows"]] == [
        ("rafdb", "measured"), ("disfa", "absent"), ("lfw", "measured"),
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    status, third = run(checkpoint, tmp_path / "empty", tmp_path / "out", "--tasks", "rafdb")
    assert status == 1
    assert third["rows"] == second["rows"]  # absent does not replace measured
    assert "rafdb: no folder" in capsys.readouterr().out


def test_a_folder_of_other_results_is_refused(checkpoint, releases, tmp_path, capsys):
    run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw")
    stored = (tmp_path / "out/summary.json").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw", "--feature", "f_f", "--seed", "3")
    assert stopped.value.code == 2
    message = "holds results of feature f_s, not f_f; seed 0, not 3: give another folder as --out"
    assert message in capsys.readouterr().err
    assert (tmp_path / "out/summary.json").read_bytes() == stored


def test_options_are_those_of_the_tasks(checkpoint, releases, tmp_path, capsys):
    run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw")
    original = ["--tasks", "rafdb", "--option", "rafdb.images=original"]
    status, summary = run(checkpoint, releases, tmp_path / "out", *original)
    assert status == 0
    assert [row["options"] for row in summary["rows"]] == [[], ["rafdb.images=original"]]
    with pytest.raises(SystemExit):
        run(checkpoint, releases, tmp_path / "out", "--tasks", "rafdb")
    assert "holds results of options of rafdb ['rafdb.images=original'], not []" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"rows": [{"task": "lfw"}]}', '{"rows": [3]}'])
def test_another_file_of_that_name_is_refused(checkpoint, releases, tmp_path, capsys, content):
    trees.text(tmp_path / "out/summary.json", content)
    with pytest.raises(SystemExit) as stopped:
        run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw")
    assert stopped.value.code == 2
    assert "summary.json is no summary of pcfrl evaluate: remove it" in capsys.readouterr().err


def test_checkpoints_of_one_name_have_folders_of_their_own(checkpoint, tmp_path):
    other = tmp_path / "last.ckpt"
    other.write_bytes(Path(checkpoint).read_bytes() + b" ")
    wanted = [(path, *rest) for path in (checkpoint, str(other)) for rest in (("f_s", None), ("f_p", "none"))]
    folders = {default_folder(Settings(path, tmp_path, feature), crop) for path, feature, crop in wanted}
    assert len(folders) == 4
    assert {folder.name.split("-")[0] for folder in folders} == {
        Path(checkpoint).parent.name,
        tmp_path.name.split("-")[0],
    }


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("runs/pretrain/version_3/checkpoints/last.ckpt", "pretrain-version_3-last"),
        ("runs/fer2013/version_0/checkpoints/epoch=4.ckpt", "fer2013-version_0-epoch=4"),
        ("somewhere/pcl.ckpt", "pcl"),
        ("exported/", "exported"),
        ("exported/model.safetensors", "exported-model"),
        ("timm:vit_small_patch14_dinov2.lvd142m", "timm-vit_small_patch14_dinov2.lvd142m"),
    ],
)
def test_the_run_is_in_the_name_of_a_checkpoint(source, name):
    assert source_name(source) == name


def test_several_encoders_and_features_make_one_table(checkpoint, releases, tmp_path, capsys, monkeypatch):
    timm = pytest.importorskip("timm")
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    other = tmp_path / "other/version_7/checkpoints/last.ckpt"
    other.parent.mkdir(parents=True)
    other.write_bytes(Path(checkpoint).read_bytes())
    sources = [str(other), "timm:test_resnet", "--weights", str(weights)]
    arguments = [*sources, "--data-root", str(releases), "--tasks", "lfw", "disfa", "--feature", "f_s", "f_p"]
    monkeypatch.setenv("COLUMNS", "80")
    assert main([checkpoint, *arguments, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    table = printed.partition("┏")[2].partition("└")[0]
    names = [f"{Path(checkpoint).parent.name}-last", "other-version_7-last", "timm-test_resnet"]
    assert [table.count(name) for name in names] == [2, 2, 1]  # timm has no f_p
    assert [table.count(word) for word in ("pretrained", "weights.pth", "lfw", "disfa")] == [4, 1, 1, 0]
    assert re.search(r"timm-test_resnet +│ weights.pth │ f_s +│ +[\d.]+ %", table)
    assert printed.count("disfa: no folder") == 1
    with (tmp_path / "out/table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["encoder"] for line in lines] == [names[0], names[0], names[1], names[1], names[2]]
    assert [(line["weights"], line["disfa f1"]) for line in lines[3:]] == [("pretrained", ""), ("weights.pth", "")]
    for name, features in zip(names, (["f_s", "f_p"], ["f_s", "f_p"], ["f_s"]), strict=True):
        rows = json.loads((tmp_path / "out" / name / "summary.json").read_text())["rows"]
        assert [(row["task"], row["feature"]) for row in rows] == [
            (task, feature) for task in ("lfw", "disfa") for feature in features
        ]
        results = json.loads((tmp_path / "out" / name / "lfw/pretrained/results.json").read_text())
        found = [blocks(results)[feature]["metrics"]["last"]["accuracy"] for feature in features]
        assert found == [row["value"] for row in rows[: len(features)]]
        assert found == [float(line["lfw accuracy"]) for line in lines if line["encoder"] == name]
    assert len(list((tmp_path / "out" / names[0] / "features").rglob("*.npy"))) == 2
    assert results["features"]["weights"] == "weights.pth"  # of the last encoder
    assert "weights.pth" in (tmp_path / "out" / names[2] / "lfw/pretrained/report.txt").read_text()


def test_an_encoder_given_twice_is_measured_once(checkpoint, releases, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(Path(checkpoint).parent)
    again = [Path(checkpoint).name, "."]  # the last checkpoint of a folder
    code = main([checkpoint, *again, "--data-root", str(releases), "--tasks", "lfw", "--out", str(tmp_path / "out")])
    printed = " ".join(capsys.readouterr().out.split())
    assert (code, printed.count("lfw: ")) == (0, 1)
    assert f"of {source_name(checkpoint)}, last epoch" in printed
    assert (tmp_path / "out/summary.json").is_file()
    copy = tmp_path / Path(checkpoint).parent.name / "last.ckpt"  # of the same name, too
    copy.parent.mkdir()
    copy.write_bytes(Path(checkpoint).read_bytes())
    options = ["--data-root", str(releases), "--tasks", "lfw", "--out", str(tmp_path / "copies")]
    assert main([checkpoint, str(copy), *options]) == 0
    assert capsys.readouterr().out.count("lfw: ") == 1
    assert len(list((tmp_path / "copies").glob("*/summary.json"))) == 1


def test_a_summary_of_an_earlier_version_is_added_to(checkpoint, releases, tmp_path, capsys):
    run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw")
    path = tmp_path / "out/summary.json"
    stored = json.loads(path.read_text())
    del stored["encoder"], stored["precision"], stored["rows"][0]["feature"]
    path.write_text(json.dumps(stored))
    (releases / "lfw").rename(tmp_path / "gone")
    status, summary = run(checkpoint, releases, tmp_path / "out", "--tasks", "lfw", "rafdb")
    assert status == 0
    assert [(row["task"], row["status"]) for row in summary["rows"]] == [("lfw", "measured"), ("rafdb", "measured")]


def test_precision_is_written_down_and_not_mixed(checkpoint, releases, tmp_path, capsys):
    out = tmp_path / "out"
    _, summary = run(checkpoint, releases, out, "--tasks", "lfw", "--precision", "float32")
    results = json.loads((out / "lfw/pretrained/results.json").read_text())
    stored = summary["precision"], summary["rows"][0]["precision"], results["features"]["precision"]
    assert stored == ("float32", "float32", "float32")
    with pytest.raises(SystemExit):
        run(checkpoint, releases, out, "--tasks", "lfw", "--precision", "bf16")
    assert "holds results of precision float32, not bf16" in capsys.readouterr().err
    folders = {default_folder(Settings(checkpoint, out, precision=each), None) for each in ("auto", "bf16")}
    assert len(folders) == 2


def test_a_failure_leaves_no_older_results(checkpoint, releases, tmp_path, capsys):
    run(checkpoint, releases, tmp_path / "out", "--tasks", "rafdb")
    results = tmp_path / "out/rafdb/pretrained/results.json"
    assert results.is_file()
    (releases / "rafdb/basic/EmoLabel/list_patition_label.txt").write_text("train_00001.jpg 9\n")
    status, summary = run(checkpoint, releases, tmp_path / "out", "--tasks", "rafdb")
    assert status == 1
    assert summary["rows"][0]["status"] == "failed"
    assert not results.exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("stop", "expected"), [(KeyboardInterrupt(), 130), (SystemExit(1), 130), (Stopped(15, "here"), 143)]
)
def test_an_interruption_keeps_what_was_measured(checkpoint, releases, tmp_path, capsys, monkeypatch, stop, expected):
    measure = run_module.run_task

    def interrupted(task, *rest):
        if task.name == "lfw":
            raise stop
        return measure(task, *rest)

    monkeypatch.setattr(run_module, "run_task", interrupted)
    out = tmp_path / "[b" / "[" / "b]"  # which is no markup
    status, summary = run(checkpoint, releases, out, "--tasks", "rafdb", "lfw")
    assert status == expected
    assert [(row["task"], row["status"]) for row in summary["rows"]] == [("rafdb", "measured")]
    told = capsys.readouterr().out.replace("\n", "")
    assert "interrupted after 1 results; the same command goes on" in told
    assert "[b/[/b]" in told


def test_brackets_in_the_names_of_folders_are_no_markup(checkpoint, releases, tmp_path, capsys, monkeypatch):
    source = tmp_path / "a[red]" / "last.ckpt"
    source.parent.mkdir()
    shutil.copy(checkpoint, source)
    monkeypatch.setenv("COLUMNS", "200")
    status, _ = run(str(source), releases, tmp_path / "run[red]", "--tasks", "lfw")
    assert status == 0
    assert "lfw: a[red]-last, f_s, pretrained" in capsys.readouterr().out
    assert "/run[red]/lfw/" in (tmp_path / "run[red]/lfw/pretrained/report.txt").read_text(encoding="utf-8")
    monkeypatch.setattr(run_module, "run_task", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    run(str(source), releases, tmp_path / "run[red]", "--tasks", "lfw")
    assert "run[red]" in capsys.readouterr().out.replace("\n", "").partition("interrupted")[2]


def test_a_name_in_no_encoding_is_escaped_in_the_table(checkpoint, tmp_path, capsys):
    settings = Settings(checkpoint, tmp_path, name="mine\udcff")
    summary = Summary(tmp_path / "summary.json", settings, "default", [], [])
    summary.add(Row(TASKS[0], "pretrained", "absent"))
    write_csv(tmp_path / "table.csv", [summary])
    assert r"mine\udcff,pretrained,f_s" in (tmp_path / "table.csv").read_text(encoding="utf-8")


def test_missing_checkpoint_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "no.ckpt"), "--data-root", str(tmp_path)])
    assert "no.ckpt does not exist" in capsys.readouterr().err


def test_measured_tasks_write_results_for_both_sets_of_weights(checkpoint, faces, tmp_path, capsys):
    tasks = [task._replace(image_size=32) for task in DEMO_TASKS.values()]
    settings = Settings(checkpoint, tmp_path / "out", epochs=2, progress=False, accelerator="cpu")
    rows = list(run_tasks(tasks, ["random_init", "pretrained"], settings, lambda _: Opened(faces)))
    assert [row.message for row in rows] == [""] * 8
    for row in rows:
        path = tmp_path / "out" / row.task.name / row.weights / "results.json"
        stored = json.loads(path.read_text())
        assert row.value == pytest.approx(stored["metrics"]["last"][row.task.metric])
        assert stored["features"]["baseline"] == ("random" if row.weights == "random_init" else None)
        assert (path.parent / "report.txt").read_text()
    assert capsys.readouterr().out == ""
    table = shown(results_table(rows, "title"))
    assert "random init" in table
    assert "pretrained" in table


def test_many_figures_stand_in_tables_of_three(capsys):
    """A line per encoder and feature; every name can be read at 80 columns."""
    rows = [
        Row(task, "pretrained", "measured", {"metrics": {"last": {task.metric: 0.1 * index}}}, "", 0.0, feature, source)
        for index, source in enumerate(["pretrain-version_3-last", "timm-resnet18[a1]:cat:"], 1)
        for feature in ("f_s", "f_p")
        for task in TASKS[:6]
    ]
    plain_console(width=80).print(results_table(rows, "of two encoders"))
    printed = capsys.readouterr().out
    assert printed.count("of two encoders") == 1
    assert [printed.count(name) for name in ("pretrain-version_3-last", "timm-resnet18[a1]:cat:", "10.0 %")] == [
        4,
        4,
        12,
    ]
    assert [printed.count(f" {task.name} ") for task in TASKS[:6]] == [1] * 6
    assert max(map(len, printed.splitlines())) <= 80


def test_best_figure_follows_the_direction_of_the_metric():
    pose, accuracy = next(t for t in TASKS if t.lower_is_better), TASKS[0]
    assert better(pose, [3.0, 4.0]) == [True, False]
    assert better(accuracy, [0.3, 0.4]) == [False, True]
    assert better(accuracy, [0.3, None]) == [False, False]
    assert format_value(accuracy, 0.4567) == "45.7 %"
    assert format_value(pose, 4.567) == "4.57 deg"
    assert Row(pose, "pretrained", "absent").value is None


def test_the_best_figure_is_bold():
    pose = next(task for task in TASKS if task.lower_is_better)
    found = {"trained": 3.0, "untrained": 4.0}
    rows = [
        Row(pose, "pretrained", "measured", {"metrics": {"last": {pose.metric: value}}}, title=title)
        for title, value in found.items()
    ]
    *_, best, other = results_table(rows, "title").columns
    assert [cell.style for column in (best, other) for cell in column.cells] == ["bold", ""]


def test_tasks_keep_the_order_of_the_table():
    assert [task.name for task in tasks_named(["stl10", "lfw"])] == ["lfw", "stl10"]
    assert len(tasks_named(None)) == len(TASKS)
