import sys

import pytest
import torch

from pcfrl_lightning.checkpoint import load_network, read_checkpoint
from pcfrl_lightning.cli.main import main
from pcfrl_lightning.cli.messages import summary
from pcfrl_lightning.cli.training import expand_aliases
from pcfrl_lightning.errors import DataError
from tiny import tiny_model


@pytest.fixture
def command(folder, monkeypatch):
    """Run ``pcfrl ...``; returns the exit status or the line printed on standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["pcfrl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    return call


def test_usage_lists_every_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pcfrl", "--help"])
    main()
    printed = capsys.readouterr().out
    for name in ("fit", "validate", "test", "predict", "evaluate", "data", "import-pcl", "bench", "demo"):
        assert f"\n  {name} " in printed


def test_unknown_command_is_named(command):
    assert "unknown command 'fti'" in command("fti")


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(command, folder):
    (folder / "notes.pth").write_text("no tensors here")
    line = command("import-pcl", "notes.pth", "out.ckpt")
    assert line.startswith("pcfrl: notes.pth")
    assert "\n" not in line
    assert not (folder / "out.ckpt").exists()


def test_data_check_exits_with_one_for_an_absent_set(command, capsys):
    assert command("data", "check", "rafdb", "nowhere") == 1
    assert "list_patition_label.txt" in capsys.readouterr().out


def test_missing_training_data_ends_in_one_line(command, folder):
    line = command("fit", "--config", "configs/pretrain.yaml", "--data.root", "nowhere", "--trainer.accelerator=cpu")
    assert line.startswith("pcfrl: nowhere")
    assert "\n" not in line


def test_aliases_stand_for_keys_and_nothing_else_changes():
    given = ["fit", "--baseline", "lbp", "--checkpoint=x.ckpt", "--model.lr=[1e-3,1e-2]"]
    assert expand_aliases(given) == ["fit", "--model.baseline", "lbp", "--model.checkpoint=x.ckpt", given[-1]]


def test_summary_keeps_a_plain_message_and_joins_nested_keys():
    assert summary("unrecognized arguments: --x") == "unrecognized arguments: --x"
    nested = "Parser key \"a\":\n  Errors:\n    - Problem with given class_path 'm.C':"
    nested += "\n        Option 'z' is not accepted"
    assert summary(nested) == "a: Option 'z' is not accepted by C"


def test_checkpoint_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(DataError, match=r"text\.ckpt is damaged"):
        read_checkpoint(tmp_path / "text.ckpt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match=r"other\.ckpt has no 'state_dict'"):
        read_checkpoint(tmp_path / "other.ckpt")
    model = tiny_model()
    state = {"state_dict": model.state_dict(), "hyper_parameters": {**model.hparams, "image_size": 64}}
    torch.save(state, tmp_path / "wrong.ckpt")
    with pytest.raises(DataError, match=r"wrong\.ckpt does not hold the network"):
        load_network(tmp_path / "wrong.ckpt")


def test_a_checkpoint_that_wants_to_run_code_is_refused(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": pytest.raises}, tmp_path / "code.ckpt")
    with pytest.raises(DataError, match=r"code\.ckpt is damaged or is not a plain"):
        read_checkpoint(tmp_path / "code.ckpt")
