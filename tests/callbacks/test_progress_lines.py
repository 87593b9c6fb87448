"""In a log a training is a line an epoch; on a terminal it is Lightning's bar."""

import sys
from types import SimpleNamespace

import pytest

from pcfrl_lightning.callbacks import progress_lines
from pcfrl_lightning.callbacks.progress_lines import ProgressLines, lines_in_a_log
from tiny import TinyFaces, tiny_model, trainer


@pytest.fixture
def clock(monkeypatch):
    """The clock of the callback: four seconds more whenever it is read."""
    now = iter(range(0, 10_000, 4))
    monkeypatch.setattr(progress_lines, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))


def fit(folder, epochs, *callbacks):
    run = trainer(folder, max_epochs=epochs, enable_progress_bar=True, callbacks=list(callbacks))
    run.fit(tiny_model(), TinyFaces(8, batch_size=4))


def test_a_line_now_and_then_and_after_the_last_epoch(tmp_path, capsys, clock):
    fit(tmp_path, 5, ProgressLines(seconds=8))
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 2 of 5", "epoch 4 of 5", "epoch 5 of 5"]
    assert [line.partition("; ")[2] for line in lines] == ["12 s left", "4 s left", ""]
    assert all(float(line.split("loss ")[1].split(";")[0]) > 0 for line in lines)
    assert "\r" not in printed.out + printed.err


def test_other_processes_are_silent(tmp_path, capsys, clock):
    lines = ProgressLines(seconds=0)
    lines.disable()
    lines.on_train_start(None, None)
    lines.on_train_epoch_end(SimpleNamespace(current_epoch=0, max_epochs=1, should_stop=False), None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("terminal", "shown"), [(True, "TQDMProgressBar"), (False, "ProgressLines")])
def test_a_terminal_keeps_its_bar(tmp_path, monkeypatch, terminal, shown):
    run = trainer(tmp_path, enable_progress_bar=True, callbacks=[progress_lines.TQDMProgressBar()])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    lines_in_a_log(run)
    assert type(run.progress_bar_callback).__name__ == shown
    run = trainer(tmp_path, enable_progress_bar=False)
    lines_in_a_log(run)
    assert run.progress_bar_callback is None
