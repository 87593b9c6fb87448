"""What is shown on the terminal."""

import logging

import pytest
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary, RichProgressBar, TQDMProgressBar

from pcfrl_lightning.cli import display
from pcfrl_lightning.cli.display import no_advertisement, with_display


def kinds(**trainer):
    return [type(callback) for callback in with_display(trainer)]


@pytest.fixture
def _working_bar(monkeypatch):
    monkeypatch.setattr(display, "RICH_BAR_WORKS", True)


@pytest.mark.usefixtures("_working_bar")
def test_rich_is_shown_unless_something_else_is_configured():
    assert kinds(callbacks=None) == [RichProgressBar, RichModelSummary]
    assert kinds(enable_progress_bar=None, enable_model_summary=True) == [RichProgressBar, RichModelSummary]
    assert kinds(callbacks=TQDMProgressBar()) == [TQDMProgressBar, RichModelSummary]
    assert kinds(callbacks=[ModelSummary(max_depth=2)]) == [ModelSummary, RichProgressBar]


def test_lightning_chooses_the_bar_where_that_of_rich_would_die(monkeypatch):
    monkeypatch.setattr(display, "RICH_BAR_WORKS", False)
    assert kinds() == [RichModelSummary]


@pytest.mark.usefixtures("_working_bar")
def test_rich_is_not_shown_where_it_is_switched_off():
    assert kinds(enable_progress_bar=False) == [RichModelSummary]
    assert kinds(enable_model_summary=False) == [RichProgressBar]
    assert kinds(barebones=True) == []


@pytest.mark.parametrize("shown", ["true", "false"])
def test_the_command_shows_rich(pcfrl, fer2013, shown):
    options = ["--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, "--baseline", "pixels"]
    small = ["--model.image_size=16", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.num_workers=0"]
    cli = pcfrl("fit", *options, *small, f"--trainer.enable_progress_bar={shown}")
    assert isinstance(cli.trainer.progress_bar_callback, RichProgressBar) == (
        shown == "true" and display.RICH_BAR_WORKS
    )


def test_a_benchmark_names_its_options_and_advertises_nothing(command, capsys):
    command("bench", "npa", "--sizes", "16", "--dim", "8", "--budget", "0", "--device", "cpu")
    assert "sizes [16]  dim 8  budget 0.0  device cpu" in capsys.readouterr().out
    assert no_advertisement in logging.getLogger("lightning.pytorch.utilities.rank_zero").filters


def test_a_step_names_batch_size_and_width(command, capsys):
    small = ["--batch-size", "2", "--width", "0.0625", "--image-size", "32", "--precision", "fp32", "--steps", "1"]
    command("bench", "step", *small, "--device", "cpu")
    printed = capsys.readouterr()
    assert "batch_size 2  width 0.0625  image_size 32  precision fp32  steps 1" in printed.out
    assert "litlogger" not in printed.out + printed.err
