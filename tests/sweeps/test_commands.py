"""`pcfrl ablate` and `pcfrl sweep`: what they print and write, and what they refuse."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from wandb_server import SweepServer

import trees
from pcfrl_lightning import PCFRL
from pcfrl_lightning.cli import ablate, sweep, trials
from pcfrl_lightning.cli.main import stop
from pcfrl_lightning.errors import Stopped, on_signals
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.reports.build import page_of
from pcfrl_lightning.reports.runs import read_runs
from pcfrl_lightning.sweeps.ablation import read_ablation
from pcfrl_lightning.sweeps.metrics import metric
from pcfrl_lightning.sweeps.results import ablation_table, sweep_table, values_of
from pcfrl_lightning.sweeps.trial import Outcome, Trial

STANDIN = Path(__file__).parent / "standin.py"
CHECK = trials.check_arguments

ABLATION = """
title: Two qualities
configs: [pcfrl:pretrain]
metrics: {monitor/knn_accuracy: maximize}
paper: {RAF-DB: {low: 50, high: 60}}
variants:
  low: [quality=0.5]
  high: [quality=0.6]
  dead: [crash=0]
"""
GRID = """
method: grid
metric: {name: monitor/knn_accuracy, goal: maximize}
parameters: {quality: {values: [0.3, 0.8, 0.5]}}
command: [pcfrl, fit, "${args}"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, standin):
    """A working directory with a file of each kind; command lines are those of the stand-in, so they are not read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trials, "check_arguments", lambda *_: None)
    (tmp_path / "two.yaml").write_text(ABLATION)
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused; returns its line."""

    def call(command, *arguments):
        with pytest.raises(SystemExit) as stop:
            command.main(arguments)
        assert stop.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    return call


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_ablation_writes_a_row_for_each_seed_and_a_table(folder, capsys):
    assert ablate.main(["two.yaml", "--seeds", "2", "--jobs", "2"]) == 1  # one variant fails
    out = folder / "runs" / "ablate" / "two"
    rows = table(out / "results.csv")
    assert {(row["variant"], row["seed"], row["metric"]) for row in rows} == {
        (name, seed, "monitor/knn_accuracy") for name in ("low", "high", "dead") for seed in "01"
    }
    assert {row["value"] for row in rows if row["variant"] == "low"} == {"0.5", "0.51"}
    assert {(row["state"], row["error"]) for row in rows if row["variant"] == "dead"} == {
        ("failed", "pcfrl: the disk is full")
    }
    text = (out / "table.md").read_text()
    assert "| high | 60.5 ± 0.71 | 2 | +10 [+10, +10] | 60 |" in text
    assert "| low | 50.5 ± 0.71 | 2 |  | 50 |" in text
    assert json.loads((out / "ablation.json").read_text()) == {
        "title": "Two qualities",
        "metrics": {"monitor/knn_accuracy": "maximize"},
        "variants": ["low", "high", "dead"],
        "axis": None,
        "paper": {"RAF-DB": {"low": 50, "high": 60}},
    }
    assert (out / "plot.png").stat().st_size > 1000
    assert "failed: dead, seed 0: pcfrl: the disk is full" in capsys.readouterr().out


def test_what_the_commands_write_can_be_reported_on(folder):
    files, compare = folder / "runs" / "ablate" / "two", "--metric=monitor/knn_accuracy=minimize"
    assert ablate.main(["two.yaml", "--seeds", "2", "--jobs", "2", compare]) == 1
    (section,) = [each for each in page_of(read_runs([str(files)])).shown if each.tables]
    (rows,) = [table.cells for table in section.tables]
    assert [[cell.text for cell in row[:3]] for row in rows] == [
        ["low", "50.50 \u00b1 6.35 (n = 2)", ""],
        ["high", "60.50 \u00b1 6.35 (n = 2)", "+10.00 [+10.00, +10.00]"],
        ["dead", "", ""],
    ]
    assert [row[1].best for row in rows] == [True, False, False]  # the error was asked to be small
    assert section.title == "Two qualities"
    assert "dead, seed 1: failed pcfrl: the disk is full" in section.text[0]
    sweep.main(["grid.yaml", "--out", "partial", "--count", "1"])
    (section,) = [each for each in page_of(read_runs(["partial"])).shown if each.tables]
    assert [cell.text for cell in section.tables[0].cells[0]] == ["000", "0", "0.3", "30.00", "finished"]


@pytest.fixture
def checkpoint(folder, monkeypatch):
    """Runs end with a real checkpoint of an untrained network."""
    module = PCFRL(FaceBackbone(width=0.0625), image_size=32, projection_dim=16)
    path = folder / "untrained.ckpt"
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, path)
    monkeypatch.setenv("STANDIN_CHECKPOINT", str(path))
    return path


def test_final_probes_are_measured_on_the_last_checkpoint(folder, checkpoint):
    """The probe is that of the real `pcfrl evaluate`, and the value that of its summary."""
    for split, prefix in (("train", "Training"), ("validation", "PublicTest"), ("test", "PrivateTest")):
        for name in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"):
            trees.image(folder / "data" / "fer2013" / split / name / f"{prefix}_1.jpg", 48, 48)
    given = ["two.yaml", "--seeds", "1", "--only", "low", "--metric", "fer2013", "monitor/knn_accuracy"]
    assert ablate.main([*given, "--data-root", "data", "--probe-epochs", "1"]) == 0
    out = folder / "runs" / "ablate" / "two"
    values = {row["metric"]: float(row["value"]) for row in table(out / "results.csv")}
    (row,) = json.loads((out / "runs" / "low" / "seed_0" / "evaluate" / "summary.json").read_text())["rows"]
    assert values == {"fer2013": row["value"], "monitor/knn_accuracy": 0.5}
    assert row["status"] == "measured"
    assert json.loads((out / "ablation.json").read_text())["metrics"]["fer2013"] == "maximize"


def test_a_probe_that_fails_says_why_in_the_results(folder, checkpoint):
    (folder / "data" / "fer2013").mkdir(parents=True)
    given = ["two.yaml", "--seeds", "1", "--only", "low", "--metric", "fer2013", "--data-root", "data"]
    assert ablate.main(given) == 1
    (row,) = table(folder / "runs" / "ablate" / "two" / "results.csv")
    assert row["state"] == "failed"
    assert row["error"].startswith("fer2013: ")
    assert "data/fer2013" in row["error"]


def test_commands_of_a_dry_run_hold_everything(folder, capsys):
    given = ["two.yaml", "--seeds", "2", "--dry-run", "--data", "two.yaml", "--config", "pcfrl:experiment/cpu"]
    assert ablate.main([*given, "--trainer.max_epochs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[4] == (
        "pcfrl fit --config=pcfrl:pretrain --config=pcfrl:experiment/cpu --data.root=two.yaml --trainer.max_epochs 3 "
        "--quality=0.6 --seed_everything=1 --data.seed=1 --trainer.logger=lightning.pytorch.loggers.CSVLogger "
        "--trainer.logger.save_dir=runs/ablate/two/runs/high --trainer.logger.name=seed_1 "
        "--trainer.logger.version=null --trainer.enable_progress_bar=false"
    )
    assert not (folder / "runs").exists()


def test_finished_runs_are_not_printed_for_a_scheduler(folder, capsys):
    ablate.main(["two.yaml", "--seeds", "1", "--only", "low"])
    capsys.readouterr()
    ablate.main(["two.yaml", "--seeds", "1", "--dry-run"])
    assert [line.partition("/runs/")[2].split()[0] for line in capsys.readouterr().out.splitlines()] == ["high", "dead"]


def test_runs_that_a_scheduler_has_trained_are_not_printed_again(folder, capsys):
    part = folder / "runs/ablate/two/runs/low/seed_0/version_0"
    (part / "checkpoints").mkdir(parents=True)
    (part / "config.yaml").write_text("trainer: {max_epochs: 2}")
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}}
    torch.save({"state_dict": {}, "loops": loops}, part / "checkpoints/last.ckpt")
    ablate.main(["two.yaml", "--seeds", "1", "--dry-run"])
    assert [line.partition("/runs/")[2].split()[0] for line in capsys.readouterr().out.splitlines()] == ["high", "dead"]


def test_what_an_ablation_refuses(folder, refused):
    assert "table77: no such file; did you mean table7?" in refused(ablate, "table77")
    assert "--only hihg: there is no such variant; did you mean high?" in refused(ablate, "two.yaml", "--only", "hihg")
    assert "--data ./FACES does not exist" in refused(ablate, "two.yaml", "--data", "./FACES")
    assert "--data ./FACES.zip does not exist" in refused(ablate, "two.yaml", "--data", "./FACES.zip")
    assert "rafdb is measured by a probe: give --data-root" in refused(ablate, "two.yaml", "--metric", "rafdb")
    absent = refused(ablate, "two.yaml", "--metric", "rafdb", "--data-root", ".")
    assert "--data-root .: rafdb is read from rafdb, which does not exist" in absent
    assert "did you mean rafdb?" in refused(ablate, "two.yaml", "--metric", "rafbd")
    assert "takes a whole number" in refused(ablate, "two.yaml", "--seeds", "0")
    assert "must be a number above 0" in refused(ablate, "two.yaml", "--budget-minutes", "0")
    logger = refused(ablate, "two.yaml", "--trainer.logger.name=x")
    assert "--trainer.logger.name is set for each run by this command" in logger
    ablate.main(["two.yaml", "--seeds", "1", "--only", "low"])
    assert "holds a run of another command" in refused(ablate, "two.yaml", "--seeds", "1", "--epochs=9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x", "lacks configs, metrics, variants"),
        ("- 1", "must be a mapping with"),
        (ABLATION.replace("variants", "varants"), "unknown key 'varants'; did you mean variants?"),
        (ABLATION.replace("low: 50", "lov: 50"), "paper.RAF-DB: there is no variant 'lov'; did you mean low?"),
        (ABLATION.replace("[quality=0.5]", "quality=0.5"), "variants.low must be a list"),
        ("a: [", "is no yaml"),
    ],
)
def test_wrong_files_of_ablations_are_named(folder, refused, text, message):
    (folder / "wrong.yaml").write_text(text)
    assert message in refused(ablate, "wrong.yaml")


def test_a_key_that_no_config_knows_is_refused_before_the_first_run(folder, refused, monkeypatch):
    monkeypatch.setattr(trials, "check_arguments", CHECK)
    text = GRID.replace("quality", "model.contrast.calibrator.calibrator.alpah").replace(
        "fit, ", "fit, --config=pcfrl:pretrain, "
    )
    (folder / "wrong.yaml").write_text(text)
    line = refused(sweep, "wrong.yaml")
    assert "wrong.yaml: model.contrast.calibrator.calibrator: Option 'alpah'" in line
    assert "did you mean alpha?" in line
    assert not (folder / "runs").exists()


def test_a_metric_that_nothing_logs_is_refused_before_the_first_run(folder, refused, monkeypatch):
    monkeypatch.setattr(trials, "check_arguments", CHECK)
    (folder / "grid.yaml").write_text(
        GRID.replace("quality", "model.contrast.calibrator.calibrator.alpha").replace(
            "fit, ", "fit, --config=pcfrl:pretrain, "
        )
    )
    (folder / "two.yaml").write_text(ABLATION.replace("quality=0.", "data.batch_size=").replace("crash", "data.seed"))
    for command, file in ((sweep, "grid.yaml"), (ablate, "two.yaml")):
        line = refused(command, file, "--data", "SyntheticFaces")
        assert "monitor/knn_accuracy is logged by OnlineMonitor, which the config has not" in line
        assert "data.root is not set: give --data FACES" in refused(command, file)
    assert not (folder / "runs").exists()


def test_a_sweep_prints_the_best_command_and_writes_a_table(folder, capsys):
    assert sweep.main(["grid.yaml", "--jobs", "2"]) == 0
    assert "best: pcfrl fit --quality=0.8\n" in capsys.readouterr().out
    out = folder / "runs" / "sweep" / "grid"
    rows = sorted(table(out / "results.csv"), key=lambda row: row["variant"])
    assert [(row["quality"], row["value"], row["state"]) for row in rows] == [
        ("0.3", "0.3", "finished"),
        ("0.8", "0.8", "finished"),
        ("0.5", "0.5", "finished"),
    ]
    assert (out / "table.md").read_text().splitlines()[4] == "| 001 | 0.8 | 0.8000 | finished |"
    assert json.loads((out / "sweep.json").read_text())["metrics"] == {"monitor/knn_accuracy": "maximize"}
    assert (out / "plot.png").stat().st_size > 1000


def test_ctrl_c_ends_the_runs_and_says_how_to_go_on(folder):
    (folder / "grid.yaml").write_text(GRID.replace("fit, ", "fit, --pause=60, "))
    threading.Thread(target=interrupt_when_there_is, args=[folder / "runs/sweep/grid/runs/000/seed_0/log.txt"]).start()
    with (
        on_signals(stop),
        pytest.raises(Stopped, match="after 0 of 3 runs; the same command goes on with the others") as stopped,
    ):
        sweep.main(["grid.yaml"])
    assert stopped.value.code == 130
    assert not list(folder.rglob("trial.json"))


def interrupt_when_there_is(log):
    """Send Ctrl-C to this process once a run has begun."""
    while not (log.is_file() and "fit from" in log.read_text()):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


QUICK_AGENT = """
import sys, wandb.wandb_agent
from pcfrl_lightning.cli import sweep, trials
wandb.wandb_agent.Agent.POLL_INTERVAL = 0.1
trials.check_arguments = lambda *_: None
sys.exit(sweep.main(sys.argv[1:]))
"""


def test_wandb_gets_the_file_and_its_agent_runs_the_command(folder):
    """The client and the agent of the installed W&B, in a process of their own, against a server of the test."""
    server = SweepServer()
    file = yaml.safe_load(GRID)
    command = ["pcfrl", "fit", "--trainer.logger.save_dir=${envvar:OUT}", "--trainer.logger.name=a"]
    file |= {"project": "faces", "command": [*command, "${args}"]}
    (folder / "grid.yaml").write_text(yaml.safe_dump(file))
    program = folder / "bin" / "pcfrl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDIN}" "$@"\n')
    program.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    settings = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40, "OUT": "runs"}
    settings["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    words = [sys.executable, "-c", QUICK_AGENT, "grid.yaml", "--backend", "wandb", "--count", "2", "--epochs=1"]
    done = subprocess.run(words, env=clean | settings, capture_output=True, text=True, timeout=120)
    server.shutdown()
    assert done.returncode == 0, done.stderr
    (sent,) = server.sweeps
    assert sent == {**file, "command": [*command, "--epochs=1", "${args}"]}
    assert server.projects == ["faces"]
    logged = [float(row["monitor/knn_accuracy"]) for path in sorted(folder.rglob("metrics.csv")) for row in table(path)]
    assert logged == [0.3, 0.8]  # two of the three runs of the grid, each of one epoch


def test_rows_of_an_ablation_by_hand(tmp_path):
    """Differences from the first variant are 1, 2 and 3: mean 2, deviation 1, half width 4.303 / sqrt 3 = 2.484."""
    spread = metric("monitor/loss", "minimize")
    values = {"a": (10.0, 20.0, 30.0), "b": (11.0, 22.0, 33.0)}
    outcomes = [
        Outcome(Trial(name, seed, (), tmp_path), "finished", {spread.name: value})
        for name, row in values.items()
        for seed, value in enumerate(row)
    ]
    rows = ablation_table(["a", "b", "c"], values_of(outcomes, spread), spread, {"paper": {"b": 7}})
    assert rows[0] == ["variant", "monitor/loss", "seeds", "minus a (95 %)", "paper: paper"]
    assert rows[1] == ["a", "20 ± 10", "3", "", ""]
    assert rows[2] == ["b", "22 ± 11", "3", "+2 [-0.484, +4.48]", "7"]
    assert rows[3] == ["c", "-", "0", "-", ""]


def test_trials_of_a_sweep_are_ranked(tmp_path):
    error = metric("monitor/error", "minimize")
    states = {"0": ("finished", 3.0), "1": ("finished", 1.0), "2": ("stopped", 0.5), "3": ("failed", None)}
    outcomes = [
        Outcome(Trial(name, 0, (), tmp_path, {"x": name}), state, {} if value is None else {error.name: value})
        for name, (state, value) in states.items()
    ]
    assert [row[0] for row in sweep_table(outcomes, error)[1:]] == ["1", "0", "2", "3"]


def test_a_table_shows_four_digits_of_a_drawn_number():
    drawn = {"a.threshold": 2.921917493931996, "a.k": 12345, "a.beta": 1e-5, "a.kind": "mean"}
    outcome = Outcome(Trial("0", 0, (), Path(), drawn), "finished", {"monitor/x": 0.5})
    row = sweep_table([outcome], metric("monitor/x", "maximize"))[1]
    assert row == ["0", "2.922", "12345", "1e-05", "mean", "0.5000", "finished"]


def test_a_table_shows_brackets_as_they_are(tmp_path, capsys):
    """Of an error, a variant, a title: brackets are no markup, which could end the command, and `:cat:` is no emoji."""
    trials.report([[["a[b]"], ["[/tmp] [red] :cat:"]]], "[/title]", tmp_path, None, [])
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("a[b]", "[/tmp] [red] :cat:", "[/title]"))


def test_paper_figures_are_those_of_the_paper():
    """Gains that the paper prints beside its rows, and the 2.27 points over the cosine on RAF-DB of its text."""
    table5 = read_ablation(ablate.FOLDER / "ablation" / "table5.yaml").paper
    assert {len(row) for row in table5.values()} == {6}
    gains = [table5[column]["PCL + NPA"] - table5[column]["PCL"] for column in ("RAF-DB, %", "CPLFW, %", "DISFA, F1")]
    assert gains == pytest.approx([1.21, 1.56, 3.0])
    assert np.isclose(table5["RAF-DB, %"]["PCL + NPA"] - table5["RAF-DB, %"]["PCL + cosine"], 2.27)
