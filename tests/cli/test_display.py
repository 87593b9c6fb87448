"""What is shown on the terminal."""

import logging

import pytest
from lightning.pytorch.callbacks import ProgressBar

from pcfrl_lightning.callbacks import ProgressLines
from pcfrl_lightning.cli.messages import no_advertisement

QUIET = ["--model.image_size=16", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.num_workers=0"]


@pytest.mark.parametrize("shown", ["true", "false"])
def test_the_progress_bar_can_be_switched_off_and_does_not_count_runs(pcfrl, fer2013, shown):
    options = ["--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, "--baseline", "pixels", *QUIET]
    trainer = pcfrl("fit", *options, f"--trainer.enable_progress_bar={shown}", "--trainer.logger.version=a").trainer
    assert (trainer.progress_bar_callback is not None) == (shown == "true")
    if shown == "true":
        assert isinstance(trainer.progress_bar_callback, ProgressLines)  # standard error of a test is no terminal
        assert "v_num" not in trainer.progress_bar_callback.get_metrics(trainer, trainer.lightning_module)
        assert "v_num" in ProgressBar().get_metrics(trainer, trainer.lightning_module)  # else there is nothing to hide


def test_a_fit_of_a_probe_names_checkpoint_log_and_a_command_that_works(pcfrl, fer2013, capsys):
    options = ["--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, "--baseline", "pixels", *QUIET]
    pcfrl("fit", *options, "--trainer.enable_progress_bar=false")
    lines = capsys.readouterr().out.splitlines()
    assert "checkpoint: runs/probe/fer2013/checkpoints/last.ckpt" in lines
    assert "log:        runs/probe/fer2013" in lines
    following = lines[-1].removeprefix("next:       pcfrl ").split()
    assert following[0] == "test"
    pcfrl(*following)
    assert "accuracy" in capsys.readouterr().out


def test_a_step_names_batch_size_and_width(command, capsys):
    small = ["--batch-size", "2", "--width", "0.0625", "--image-size", "32", "--precision", "fp32", "--steps", "1"]
    command("bench", "step", *small, "--device", "cpu")
    printed = capsys.readouterr()
    assert "batch_size 2  width 0.0625  image_size 32  precision fp32  steps 1" in printed.out
    assert "litlogger" not in printed.out + printed.err
    assert no_advertisement in logging.getLogger("lightning.pytorch.utilities.rank_zero").filters
