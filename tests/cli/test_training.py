"""Shipped configs run, wrong input is refused, results are written."""

import json

import pytest
import torch
import wandb
import yaml

from pcfrl_lightning import load_encoder
from pcfrl_lightning.errors import UsageError

SMALL = [
    "--model.backbone.width=0.0625",
    "--model.projection_dim=16",
    "--model.image_size=32",
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.enable_progress_bar=false",
]
PRETRAIN = ("fit", "--config", "configs/pretrain.yaml")


@pytest.mark.parametrize("method", [None, "as_printed", "pcl", "pcl_public", "adaptive", "adaptive_delayed"])
def test_pretraining_configs_run(pcfrl, faces, folder, method):
    layers = ("--config", f"configs/method/{method}.yaml") if method else ()
    cli = pcfrl(*PRETRAIN, *layers, "--data.root", faces, *SMALL)
    run = folder / "runs" / "pretrain" / "version_0"
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert (run / "pictures" / "reconstructions_epoch_0001.png").is_file()
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["model"]["init_args"]["backbone"]["init_args"]["width"] == 0.0625
    expected = {
        None: "DelayedStart",
        "as_printed": "NPAThreshold",
        "pcl": "NoCalibration",
        "pcl_public": "NoCalibration",
        "adaptive": "AdaptiveThreshold",
        "adaptive_delayed": "DelayedStart",
    }[method]
    assert type(cli.model.pose_contrast.calibrator).__name__ == expected
    header = (run / "metrics.csv").read_text().splitlines()[0]
    for name in ("train/loss_epoch", "train/images_per_second", "lr-Adam", "train/face/calibrated_epoch"):
        assert name in header


def test_an_error_in_a_process_of_the_loader_is_one_line(command, faces):
    for path in faces.iterdir():
        path.write_bytes(b"")
    small = [argument.replace("workers=0", "workers=1") for argument in SMALL]
    line = command(*PRETRAIN, "--data.root", faces, *small)
    assert line.startswith("pcfrl: faces/train: 12 images in a row cannot be read, first ")
    assert "\n" not in line


@pytest.mark.parametrize("layers", [["simclr", "simclr_npa"], ["moco"], ["swav"]])
def test_another_method_layers_over_the_pretraining(pcfrl, faces, folder, layers):
    """What PCFRL alone takes is left out; callbacks that draw its reconstructions do nothing."""
    configs = [argument for name in layers for argument in ("--config", f"configs/method/{name}.yaml")]
    small = [argument for argument in SMALL if "backbone.width" not in argument]
    cli = pcfrl(*PRETRAIN, *configs, "--data.root", faces, *small)
    assert type(cli.model).__name__.lower() == layers[0]
    assert type(cli.model.network.backbone).__name__ == "TorchvisionBackbone"
    if "simclr_npa" in layers:
        assert type(cli.model.contrast.calibrator).__name__ == "DelayedStart"
    checkpoint = folder / "runs/pretrain/version_0/checkpoints/last.ckpt"
    assert load_encoder(checkpoint).features(torch.zeros(1, 3, 32, 32))["f_s"].shape == (1, 512)


def test_npa_plugs_into_another_method_from_the_command_line(pcfrl, faces):
    npa = ["--model.calibrator", "NPAThreshold", "--model.calibrator.threshold", "0.5", "--model.queue_size", "64"]
    small = [argument for argument in SMALL if "backbone.width" not in argument]
    cli = pcfrl(*PRETRAIN, "--config", "configs/method/snclr.yaml", "--data.root", faces, *small, *npa)
    assert cli.model.contrast.calibrator.threshold == 0.5


def test_overlays_of_methods_are_short(folder):
    for path in (folder / "configs" / "method").glob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        assert len(lines) <= 15 or path.name == "pcl_public.yaml"


def test_another_backbone_from_the_command_line(pcfrl, faces, folder):
    pytest.importorskip("timm")
    other = ["--model.backbone", "pcfrl_lightning.networks.TimmBackbone", "--model.backbone.model_name", "resnet18"]
    small = [argument for argument in SMALL if "backbone.width" not in argument]
    cli = pcfrl(*PRETRAIN, "--data.root", faces, *other, "--model.backbone.out_index=-2", *small)
    assert type(cli.model.network.backbone).__name__ == "TimmBackbone"
    again = load_encoder(folder / "runs/pretrain/version_0/checkpoints/last.ckpt")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again.encode(images).f_s, cli.model.eval().network.encode(images).f_s)


def test_print_config_shows_the_layers_and_runs_nothing(pcfrl, folder, capsys):
    with pytest.raises(SystemExit) as stop:
        pcfrl(*PRETRAIN, "--config", "configs/method/pcl.yaml", "--optimizer.lr=0.5", "--print_config")
    assert stop.value.code == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["optimizer"]["init_args"]["lr"] == 0.5
    contrast = shown["model"]["init_args"]["contrast"]["init_args"]
    assert contrast["calibrator"]["class_path"].endswith("NoCalibration")
    assert contrast["temperature"] == 0.07
    assert not (folder / "runs").exists()


def test_the_summary_shows_the_parameters_of_the_paper_size(pcfrl, faces, capsys):
    small = [argument for argument in SMALL if not argument.startswith("--model")]
    pcfrl(*PRETRAIN, "--data.root", faces, *small)
    printed = capsys.readouterr()
    assert "PCFRL: 17.3 M parameters" in printed.out
    assert "FLOPs" not in printed.out + printed.err
    last = "runs/pretrain/version_0/checkpoints/last.ckpt"
    assert f"checkpoint: {last}\nlog:        runs/pretrain/version_0\nnext:       pcfrl evaluate {last}" in printed.out


def test_fer2013_experiment_runs_with_the_monitor(pcfrl, fer2013, folder):
    layers = ("--config", "configs/experiment/fer2013.yaml", "--config", "configs/experiment/cpu.yaml")
    pcfrl(*PRETRAIN, *layers, "--data.root", fer2013, *SMALL)
    header = (folder / "runs" / "fer2013" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "monitor/knn_accuracy" in header
    assert "monitor/linear_accuracy" in header


def test_classes_are_known_by_their_short_names(pcfrl, faces):
    short = ["--data", "FaceFolder", "--data.root", faces, "--data.views", "AlbumentationsViews", "--optimizer", "SGD"]
    cli = pcfrl("fit", "--config", "pcfrl:pretrain", *short, *SMALL, "--trainer.fast_dev_run=true")
    assert type(cli.trainer.optimizers[0]).__name__ == "SGD"


def test_a_run_can_begin_with_the_weights_of_another(pcfrl, faces, folder):
    pcfrl(*PRETRAIN, "--data.root", faces, *SMALL)
    last = "runs/pretrain/version_0/checkpoints/last.ckpt"
    longer = [argument for argument in SMALL if "max_epochs" not in argument]
    still = ("--trainer.max_epochs=2", "--trainer.max_steps=0", "--init_from", last)
    cli = pcfrl(*PRETRAIN, "--data.root", faces, *longer, *still)
    assert cli.trainer.current_epoch == 0
    for key, value in load_encoder(last).state_dict().items():
        torch.testing.assert_close(cli.model.network.state_dict()[key], value)
    with pytest.raises(UsageError, match="give one of them"):
        pcfrl(*PRETRAIN, "--data.root", faces, *SMALL, "--init_from", last, "--ckpt_path", last)
    with pytest.raises(UsageError, match="is of another network"):
        pcfrl(*PRETRAIN, "--data.root", faces, *SMALL, "--init_from", last, "--model.backbone.width=0.125")


def test_a_run_that_began_with_the_weights_of_another_goes_on_with_its_own(pcfrl, faces):
    """Its saved configuration names the other one, and so does the command line of a trial of an ablation."""
    longer = [argument for argument in SMALL if "max_epochs" not in argument]
    fit = [*PRETRAIN, "--data.root", faces, *longer, "--trainer.max_epochs=2"]
    first, own = (f"runs/pretrain/version_{number}/checkpoints/last.ckpt" for number in (0, 1))
    pcfrl(*fit, "--trainer.max_steps=1")
    pcfrl(*fit, "--trainer.max_steps=1", "--init_from", first)
    saved = ["fit", "--config", "runs/pretrain/version_1/config.yaml", "--trainer.max_steps=-1", "--ckpt_path", own]
    assert pcfrl(*saved).trainer.current_epoch == 2
    assert pcfrl(*fit, "--init_from", first, "--ckpt_path", own, "--init_from=null").trainer.current_epoch == 2


def test_a_run_can_begin_with_the_weights_of_a_network_of_the_user(pcfrl, faces, folder, monkeypatch):
    """The class is that of the model, so that the file names none; a network that follows begins with them, too."""
    text = "def __init__(self):\n        super().__init__(3, 8, 3, stride=4)\n"
    (folder / "my_backbone.py").write_text(f"from torch import nn\n\nclass Mine(nn.Conv2d):\n    {text}")
    monkeypatch.syspath_prepend(folder)
    fit = [*PRETRAIN, "--config", "configs/method/moco.yaml", "--data.root", faces]
    fit += [argument for argument in SMALL if "width" not in argument]
    fit += ["--model.backbone=my_backbone.Mine", "--model.queue_size=8", "--model.momentum=0.5", "--optimizer.lr=0.1"]
    first = pcfrl(*fit).model.network.state_dict()
    model = pcfrl(*fit, "--trainer.max_steps=0", "--init_from", "runs/pretrain/version_0").model
    for network in (model.network, model.momentum_network.network):
        torch.testing.assert_close(dict(network.state_dict()), dict(first))


@pytest.mark.parametrize("logger", ["csv", "tensorboard", "wandb"])
def test_loggers_can_be_layered(pcfrl, faces, folder, logger):
    offline = ("--trainer.logger.offline=true",) if logger == "wandb" else ()
    pcfrl(*PRETRAIN, "--config", f"configs/logger/{logger}.yaml", *offline, "--data.root", faces, *SMALL)
    expected = {"csv": "metrics.csv", "tensorboard": "events.out.tfevents.*", "wandb": "*.wandb"}[logger]
    assert list((folder / "runs").rglob(expected))


def test_runs_of_wandb_keep_their_files_apart(pcfrl, faces, folder):
    for _ in range(2):
        logger = ("--config", "configs/logger/wandb.yaml", "--trainer.logger.offline=true")
        pcfrl(*PRETRAIN, *logger, "--data.root", faces, *SMALL)
        wandb.finish()  # two commands are two processes
    assert not (folder / "runs" / "config.yaml").exists()
    configs = list((folder / "runs" / "pcfrl").glob("*/config.yaml"))
    assert len(configs) == 2
    for config in configs:
        assert (config.parent / "checkpoints" / "last.ckpt").is_file()
        assert list((config.parent / "pictures").glob("*.png"))


def test_wandb_gets_the_whole_configuration_nested_under_one_key(pcfrl, faces, folder):
    logger = ("--config", "configs/logger/wandb.yaml", "--trainer.logger.offline=true", "--trainer.fast_dev_run=false")
    cli = pcfrl(*PRETRAIN, *logger, "--data.root", faces, *SMALL, "--model.pose_beta=0.35")
    logged = dict(cli.trainer.logger.experiment.config)
    (saved,) = (folder / "runs" / "pcfrl").glob("*/config.yaml")
    assert logged["config"] == yaml.safe_load(saved.read_text())
    assert logged["config"]["model"]["init_args"]["pose_beta"] == 0.35
    assert not [key for key in logged if "." in key or "/" in key]  # nothing of it flattened beside it
    wandb.finish()


def test_a_second_run_in_the_same_folder_does_not_die(pcfrl, faces):
    fixed = ("--trainer.logger.version", "same", "--data.root", faces)
    pcfrl(*PRETRAIN, *fixed, *SMALL)
    pcfrl(*PRETRAIN, *fixed, *SMALL)


def test_an_injected_optimizer_keeps_the_cosine_schedule(pcfrl, faces):
    other = ("--optimizer", "torch.optim.SGD", "--optimizer.lr", "0.5", "--data.root", faces)
    cli = pcfrl(*PRETRAIN, *other, *SMALL)
    (config,) = cli.trainer.lr_scheduler_configs
    assert type(cli.trainer.optimizers[0]).__name__ == "SGD"
    assert config.scheduler.T_max == 1
    assert config.scheduler.base_lrs == [0.5]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.contrast.temperature=-1"], ["pcfrl: model.contrast: temperature must", "-1"]),
        (["--model.pose_beta=-1"], ["pcfrl: model: pose_beta must", "-1"]),
        (["--model.contrast.calibrator.calibrator.alpha=-1"], ["model.contrast.calibrator.calibrator: alpha must"]),
        (["--optimizer.lr=-1"], ["pcfrl: optimizer: ", "learning rate"]),
        (["--model.contrast.calibrator.alfa=3"], ["model.contrast.calibrator", "alfa", "DelayedStart"]),
        (["--model.image_size=abc"], ["model.image_size", "int", "abc"]),
        (["--model.nonsense=3"], ["nonsense", "PCFRL"]),
        (["--data.batch_size=1"], ["pcfrl: data: batch_size", "at least 2"]),
        (["--trainr.max_epochs=3"], ["trainr.max_epochs"]),
        (["--trainer.max_epo=3"], ["trainer.max_epo="]),
        (["--trainer.max_epo", "3"], ["trainer.max_epo "]),
        (["--seed=3"], ["--seed="]),
        (["--model.widht=3"], ["model: ", "'widht'", "PCFRL", "did you mean backbone.width?"]),
        (["--optimizer.lr", "abc"], ["pcfrl: optimizer.lr: takes ", "a number, not 'abc'"]),
        (["--optimizer", "Adamm"], ["pcfrl: optimizer: takes ", "not 'Adamm'; did you mean Adam?"]),
        (["--model.contrast.pair_term", "Eq8"], ["pair_term: takes", "LossWeight", "'Eq8'; did you mean Eq7?"]),
        (["--data", "FaceFolderr"], ["pcfrl: data: takes ", "'FaceFolderr'; did you mean FaceFolder?"]),
        (["--seed_everything", "x"], ["pcfrl: seed_everything: takes true or false or an integer, not 'x'"]),
        (["--trainer.precision", "bf16-mixd"], ["trainer.precision: takes ", "did you mean bf16-mixed?"]),
        (["--trainer.max_epoch=3"], ["did you mean --trainer.max_epochs?"]),
        (["--config", "{trainer: {max_epoch: 3}}"], ["'trainer.max_epoch'", "did you mean --trainer.max_epochs?"]),
        (["--config", "{optimizer: {class_path: Adamm}}"], ["optimizer: takes ", "did you mean Adam?"]),
        (["--config", "pcfrl:method/plc"], ["--config pcfrl:method/plc: no such config; did you mean method/pcl?"]),
        (["--config", "configs/pretrian.yaml"], ["does not exist; did you mean pcfrl:pretrain?"]),
        (["--model.contrast.calibrator=NoSuchThing"], ["model.contrast.calibrator", "NoSuchThing"]),
    ],
)
def test_wrong_values_are_refused_in_one_line_before_data_is_read(refused, arguments, words):
    line = refused(*PRETRAIN, "--data.root", "does/not/exist", *arguments)
    assert "does/not/exist" not in line  # the data was not looked for
    for word in words:
        assert word in line


def test_near_names_of_the_task_of_a_probe(refused):
    probe = ["fit", "--config", "pcfrl:probe/linear", "--config", "pcfrl:probe/labelled", "--model.task", "clas"]
    assert "model.task: takes auto, class, classes, number, pairs, Classes, " in refused(*probe)
    assert "not 'clas'; did you mean class?" in refused(*probe)


def test_a_typo_in_a_yaml_is_named(refused, folder):
    text = (folder / "configs" / "pretrain.yaml").read_text()
    (folder / "typo.yaml").write_text(text.replace("alpha: 10.0", "alpa: 10.0"))
    assert "alpa" in refused("fit", "--config", "typo.yaml")


def test_probe_config_writes_results(pcfrl, fer2013, faces, folder):
    pcfrl(*PRETRAIN, "--data.root", faces, *SMALL)
    checkpoint = folder / "runs" / "pretrain" / "version_0" / "checkpoints" / "last.ckpt"
    probe = ("--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, "--data.num_workers=0")
    probe += ("--model.checkpoint", checkpoint, "--model.image_size=32", "--trainer.max_epochs=2")
    probe += ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
    pcfrl("fit", *probe)
    pcfrl("test", *probe, "--ckpt_path", "runs/probe/fer2013/checkpoints/last.ckpt")
    results = json.loads((folder / "runs" / "probe" / "fer2013" / "results.json").read_text())
    assert results["task"] == "expression"
    assert 0 <= results["metrics"]["last"]["accuracy"] <= 1
    assert len(results["features"]["checkpoint_sha256"]) == 64


def test_baseline_alias(pcfrl, fer2013, folder):
    probe = ("--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, "--data.num_workers=0")
    cli = pcfrl("fit", *probe, "--baseline", "hog", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
    assert cli.model.hparams.baseline == "hog"
