"""Checkpoints made to harm, through every command that reads one: nothing runs, and the refusal is one line."""

import os

import pytest
import torch

from tiny import tiny_model

HARM = {"class_path": "os.system", "init_args": {"command": "touch harmed"}}


class Pickled:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


def content(kind):
    model = tiny_model()
    whole = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    whole |= {"optimizer_states": [], "lr_schedulers": [], "loops": {}, "callbacks": {}, "epoch": 0, "global_step": 0}
    whole["pytorch-lightning_version"] = "2.6.0"
    settings = whole["hyper_parameters"]
    changed = {
        "pickle": {"callbacks": {"x": Pickled()}},
        "nested": {
            "hyper_parameters": {
                **settings,
                "_instantiator": "os.system",
                "_class_path": "os.system",
                "backbone": {"class_path": "pcfrl_lightning.networks.FaceBackbone", "init_args": {"width": HARM}},
            }
        },
        "text": {"hyper_parameters": "os.system", "state_dict": 7},
        "states": {"optimizer_states": 3, "lr_schedulers": "x", "loops": [HARM]},
    }
    return whole | changed[kind]


@pytest.fixture
def harmful(folder):
    def write(kind, name):
        torch.save(content(kind), folder / name)
        return name

    return write


PRETRAIN = ["--config", "pcfrl:pretrain", "--data.root", "faces", "--data.num_workers=0", "--data.batch_size=4"]
PRETRAIN += ["--model.image_size=32", "--model.projection_dim=16", "--model.backbone.width=0.0625"]
PRETRAIN += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.max_epochs=1"]
PROBE = ["--config", "pcfrl:probe/fer2013", "--data.root", "fer", "--data.num_workers=0", "--trainer.accelerator=cpu"]
PROBE += ["--model.image_size=32", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
COMMANDS = {
    "fit": ["fit", *PRETRAIN, "--ckpt_path", "X"],
    "fit from": ["fit", *PRETRAIN, "--init_from", "X", "--trainer.fast_dev_run=true"],
    "fit a probe": ["fit", *PROBE, "--model.checkpoint", "X"],
    "validate": ["validate", *PROBE, "--baseline", "pixels", "--ckpt_path", "X"],
    "test": ["test", *PROBE, "--baseline", "pixels", "--ckpt_path", "X"],
    "embed": ["embed", "X", "faces", "--out", "faces.npz"],
    "evaluate": ["evaluate", "X", "--data-root", "."],
    "import-pcl": ["import-pcl", "X", "out.ckpt"],
}


@pytest.mark.parametrize("kind", ["pickle", "nested", "text", "states"])
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_in_a_checkpoint_runs(command, faces, fer2013, folder, harmful, capsys, monkeypatch, name, kind):
    calls = []
    monkeypatch.setattr("os.system", calls.append)
    line = command(*[harmful(kind, "x.ckpt") if word == "X" else word for word in COMMANDS[name]])
    assert calls == []
    assert not (folder / "harmed").exists()
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    not_looked_at = ["states", "nested"] if name == "fit from" else ["states"]  # the class is that of the model
    if name in ("fit from", "fit a probe", "embed", "evaluate") and kind in not_looked_at:
        return  # what an encoder does not look at may hold anything
    assert line != 0
    line = line if isinstance(line, str) else printed.err.strip().splitlines()[-1]
    assert "x.ckpt" in line
    assert "\n" not in line
