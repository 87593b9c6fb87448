"""What a command does with seeds, sizes, run folders and checkpoints."""

import csv
import json

import pytest
import torch
import yaml

from pcfrl_lightning.cli.resume import check_same_schedule
from pcfrl_lightning.errors import UsageError

RUN = "runs/probe/fer2013"
LAST = f"{RUN}/checkpoints/last.ckpt"


@pytest.fixture
def probe(fer2013):
    """Options of a small probe on raw pixels."""
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--data.num_workers=0"]
    small = ["--baseline", "pixels", "--model.image_size=16", "--trainer.max_epochs=2"]
    return ["--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, *small, *quiet]


def weights():
    state = torch.load(LAST, weights_only=True)["state_dict"]
    return torch.cat([value.float().flatten() for key, value in sorted(state.items()) if key.startswith("heads.")])


def test_seed_everything_seeds_the_probe(pcfrl, probe):
    heads = {}
    for seed in (1, 2):
        cli = pcfrl("fit", *probe, f"--seed_everything={seed}")
        assert cli.model.hparams.seed == seed
        heads[seed] = weights()
    assert not torch.equal(heads[1], heads[2])
    pcfrl("test", *probe, "--seed_everything=2", "--ckpt_path", LAST)
    with open(f"{RUN}/results.json") as file:
        assert json.load(file)["seed"] == 2


def test_a_seed_of_the_model_wins_even_when_it_is_the_default(pcfrl, probe):
    assert pcfrl("fit", *probe, "--seed_everything=1", "--model.seed=0").model.hparams.seed == 0
    assert pcfrl("fit", *probe, "--seed_everything=1", "--model.seed=7").model.hparams.seed == 7


def test_a_saved_configuration_takes_another_seed(pcfrl, probe, folder):
    pcfrl("fit", *probe, "--seed_everything=1")
    (folder / RUN / "config.yaml").rename(folder / "saved.yaml")
    assert pcfrl("fit", "--config", "saved.yaml").model.hparams.seed == 1
    assert pcfrl("fit", "--config", "saved.yaml", "--seed_everything=5").model.hparams.seed == 5


def rows(name):
    with open(f"{RUN}/{name}", newline="") as file:
        return list(csv.DictReader(file))


def test_a_test_leaves_the_files_of_the_training(pcfrl, probe, folder, recwarn):
    pcfrl("fit", *probe)
    before = {name: (folder / RUN / name).read_bytes() for name in ("config.yaml", "metrics.csv", "hparams.yaml")}
    recwarn.clear()
    for _ in range(2):
        pcfrl("test", *probe, "--ckpt_path", LAST)
    pcfrl("validate", *probe, "--ckpt_path", LAST)
    assert not [warning for warning in recwarn if "will be deleted" in str(warning.message)]
    assert {name: (folder / RUN / name).read_bytes() for name in before} == before
    assert "val/accuracy" in rows("metrics.csv")[0]
    assert len(rows("metrics_validate.csv")) == 1
    assert (folder / RUN / "results.json").is_file()
    assert yaml.safe_load((folder / RUN / "config_test.yaml").read_text())["ckpt_path"] == LAST


def test_a_saved_configuration_runs_again_after_a_test(pcfrl, probe):
    pcfrl("fit", *probe)
    first = weights()
    pcfrl("test", *probe, "--ckpt_path", LAST)
    pcfrl("fit", "--config", f"{RUN}/config.yaml")
    assert torch.equal(weights(), first)
    pcfrl("test", "--config", f"{RUN}/config_test.yaml")


def test_an_image_size_of_the_data_is_refused_unless_it_is_that_of_the_model(command, pcfrl, probe, folder):
    line = "pcfrl: data.image_size is 32, but the model takes 16 pixels: set model.image_size"
    assert command("fit", *probe, "--data.image_size=32") == line
    (folder / "size.yaml").write_text("data: {init_args: {image_size: 32}}")
    assert command("fit", *probe, "--config", "size.yaml") == line
    assert not (folder / "runs").exists()
    cli = pcfrl("fit", *probe, "--data.image_size=16")
    assert cli.datamodule.image_size == 16
    cli = pcfrl("fit", "--config", f"{RUN}/config.yaml", "--model.image_size=24")
    assert cli.datamodule.image_size == 24


def test_resuming_for_more_epochs_is_refused(command, pcfrl, probe):
    pcfrl("fit", *probe)
    line = command("fit", *probe, "--ckpt_path", LAST, "--trainer.max_epochs=3")
    assert line.startswith("pcfrl: the checkpoint's cosine schedule ends at epoch 2; give --trainer.max_epochs 2, or ")
    assert f"--init_from {LAST} in place of --ckpt_path" in line
    own = ["--lr_scheduler", "CosineAnnealingLR", "--lr_scheduler.T_max=3"]  # would be overwritten by the checkpoint's
    assert "give --lr_scheduler.T_max 2" in command("fit", *probe, "--ckpt_path", LAST, *own)
    pcfrl("test", *probe, "--ckpt_path", LAST, "--trainer.max_epochs=3")  # trains nothing


def test_the_optimizer_of_a_probe_is_its_own(command, probe):
    line = command("fit", *probe, "--optimizer=Adam")
    assert "empty parameter list; ExpressionProbe has one of its own, whose rate is model.lr" in line


def test_resuming_with_another_optimizer_is_refused(command, pcfrl, faces):
    """PyTorch would go on with the rate of the checkpoint, or fail in the first step."""
    fit = ["fit", "--config=configs/pretrain.yaml", "--data.root", faces, "--data.batch_size=4", "--data.num_workers=0"]
    fit += ["--model.image_size=32", "--model.projection_dim=16", "--model.backbone.width=0.0625"]
    fit += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"]
    pcfrl(*fit, "--trainer.max_steps=1")
    resumed = [*fit, "--ckpt_path", "runs/pretrain/version_0/checkpoints/last.ckpt"]
    expected = "pcfrl: the optimizer of the checkpoint has {}: give what its run had (--optimizer, --lr_scheduler)"
    line = command(*resumed, "--optimizer.lr=0.5", "--optimizer.weight_decay=0.25")
    assert line.startswith(expected.format("lr 0.0001, not 0.5, weight_decay 0.0, not 0.25"))
    for other in ("SGD", "AdamW", "RAdam"):  # the last two have the same state
        line = command(*resumed, f"--optimizer={other}", "--optimizer.lr=0.0001", "--optimizer.weight_decay=0")
        assert line.startswith(expected.format(f"class Adam, not {other}"))
    assert pcfrl(*resumed, "--optimizer.foreach=false").trainer.current_epoch == 2
    older = torch.load(resumed[-1], weights_only=True)
    del older["optimizer_states"][0]["param_groups"][0]["maximize"]  # as of a PyTorch that did not know it
    torch.save(older, "older.ckpt")
    assert pcfrl(*fit, "--ckpt_path", "older.ckpt").trainer.current_epoch == 2
    cycle = [*fit, "--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.002", "--lr_scheduler.total_steps=9"]
    pcfrl(*cycle, "--trainer.max_steps=1", "--trainer.logger.name=cycle")  # changes rates and momenta itself
    own = "runs/cycle/version_0/checkpoints/last.ckpt"
    faster = [*cycle, "--ckpt_path", own, "--lr_scheduler.max_lr=0.004"]
    assert command(*faster).startswith(expected.format("lr 8e-05, not 0.00016"))
    assert pcfrl(*cycle, "--ckpt_path", own).trainer.current_epoch == 2
    steps = [*fit, "--trainer.max_epochs=-1", "--trainer.logger.name=steps"]  # without a schedule
    pcfrl(*steps, "--trainer.max_steps=1")
    steps += ["--ckpt_path", "runs/steps/version_0/checkpoints/last.ckpt", "--trainer.max_steps=2"]
    assert command(*steps, "--optimizer.lr=0.5").startswith(expected.format("lr 0.0001, not 0.5"))
    assert pcfrl(*steps).trainer.global_step == 2


def test_only_a_cosine_has_an_end():
    for states in ([], [{"step_size": 2}], [{"T_max": 3}], [3]):
        check_same_schedule(states, ("trainer.max_epochs", 3))
    with pytest.raises(UsageError, match=r"give --trainer\.max_epochs 4"):
        check_same_schedule([{"T_max": 4}], ("trainer.max_epochs", -1))


@pytest.mark.parametrize("word", ["last", "best", "hpc"])
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_word_for_a_checkpoint_that_is_not_there_is_refused(command, probe, folder, stage, word):
    line = command(stage, *probe, "--ckpt_path", word)
    assert line.startswith(f"pcfrl: --ckpt_path {word}: ")
    assert line.endswith("give the path of the file")
    assert not (folder / "runs").exists()


def test_the_last_checkpoint_of_the_run_folder_is_checked_as_any_other(command, pcfrl, probe):
    pcfrl("fit", *probe)
    assert pcfrl("test", *probe, "--ckpt_path", "last").config_init["test"]["ckpt_path"] == LAST
    line = command("test", *probe[:-1], "--data.num_workers=0", "--ckpt_path", "last", "--model.image_size=24")
    assert "model.image_size is 16 there and 24 here" in line


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_a_pretrained_model_is_not_measured_without_a_probe(command, faces, stage):
    small = ["--model.backbone.width=0.0625", "--trainer.accelerator=cpu"]
    line = command(stage, "--config", "configs/pretrain.yaml", "--data.root", faces, *small)
    assert line.startswith(f"pcfrl: PCFRL has nothing to {stage}: ")
    assert "`pcfrl evaluate CHECKPOINT --data-root ROOT`" in line
    assert "\n" not in line


def test_the_learning_rate_is_logged_per_step_and_per_epoch(pcfrl, faces, folder):
    small = ["--model.backbone.width=0.0625", "--model.image_size=32", "--data.batch_size=4", "--data.num_workers=0"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"]
    often = "--trainer.log_every_n_steps=1"
    pcfrl("fit", "--config", "configs/pretrain.yaml", "--data.root", faces, *small, *quiet, often)
    with (folder / "runs/pretrain/version_0/metrics.csv").open(newline="") as file:
        rates = [float(row["lr-Adam"]) for row in csv.DictReader(file) if row["lr-Adam"]]
    assert rates == [1e-4] * 4 + [5e-5] * 4  # one at the start of each epoch, and three steps
