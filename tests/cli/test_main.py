import io
import re
import signal
import subprocess
import sys

import pytest
import torch

import trees
from pcfrl_lightning import load_encoder
from pcfrl_lightning.cli.main import COMMANDS, main, run_or_explain
from pcfrl_lightning.cli.messages import summary
from pcfrl_lightning.cli.resume import differences
from pcfrl_lightning.cli.training import expand_aliases
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from tiny import tiny_model


def test_usage_lists_every_command_below_what_it_is_for(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pcfrl", "--help"])
    main()
    printed = capsys.readouterr().out
    blocks = [block.splitlines() for block in printed.split("\n\n")]
    listed = {lines[0].rstrip(":"): [line.split()[0] for line in lines[1:]] for lines in blocks if lines[1:]}
    for heading, group in COMMANDS.items():
        assert listed[heading] == list(group)
    assert {"fit", "validate", "test", "embed", "evaluate", "data", "import-pcl", "bench", "demo", "doctor"} <= {
        name for group in COMMANDS.values() for name in group
    }
    assert "pcfrl:method/pcl" in printed
    assert "exit status: 0 done, 1 " in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_letters_that_the_terminal_does_not_have_are_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "latin-1", write_through=True))
    monkeypatch.setattr(sys, "argv", ["pcfrl", "doctor"])
    monkeypatch.setattr("pcfrl_lightning.cli.doctor.main", lambda _: print("größe \u2191 \udcff"))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert written.getvalue() == "größe \\u2191 \\udcff\n".encode("latin-1")


def test_help_loads_no_heavy_library():
    heavy = {"torch", "lightning", "numpy", "jsonargparse", "cv2"}
    code = f"import sys; from pcfrl_lightning.cli.main import main; main(); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, "--help"], check=True, capture_output=True)


def test_unknown_command_is_named(command, capsys):
    assert command("fti") == 2
    assert capsys.readouterr().err == "pcfrl: unknown command 'fti'; did you mean fit? (see `pcfrl --help`)\n"


def test_a_public_checkpoint_is_not_replaced_by_its_conversion(folder, command, capsys):
    (folder / "a.pth").write_bytes(b"weights")
    assert command("import-pcl", "a.pth", folder / "a.pth") == 2
    assert "is the file that is converted; give another OUT.ckpt" in capsys.readouterr().err
    assert (folder / "a.pth").read_bytes() == b"weights"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_its_status_and_a_line(capsys, number, status):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        run_or_explain(lambda: signal.raise_signal(number))
    assert stop.value.code == status
    assert capsys.readouterr().err.startswith(f"pcfrl: stopped by {number.name} before the end; ")
    assert signal.getsignal(number) is before


def test_a_reader_of_the_output_that_has_left_is_no_mistake(monkeypatch, tmp_path, capsys):
    def piped():
        raise BrokenPipeError(32, "Broken pipe")

    with open(tmp_path / "out", "w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as stop:
            run_or_explain(piped, ValueError, OSError)
    assert stop.value.code == 1
    assert "Broken" not in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(command, folder):
    (folder / "notes.pth").write_text("no tensors here")
    line = command("import-pcl", "notes.pth", "out.ckpt")
    assert line.startswith("pcfrl: notes.pth")
    assert "\n" not in line
    assert not (folder / "out.ckpt").exists()


def test_data_check_exits_with_one_for_an_absent_set(command, capsys):
    assert command("data", "check", "rafdb", "nowhere") == 1
    assert "does not exist; give the folder" in capsys.readouterr().out


def test_data_check_passes_options_to_the_data_set(command, folder, capsys):
    trees.cplfw(folder / "faces")
    (folder / "faces/aligned images").rename(folder / "elsewhere")
    check = ("data", "check", "cplfw", "faces")
    assert command(*check) == 1
    assert "no images under faces" in capsys.readouterr().out
    assert command(*check, "--option", "folder=images") == 1
    assert re.search(r"test/pairs +40 +6000", capsys.readouterr().out)
    margin = ("--option", "folder=images", "--option", "cropping=LandmarkCrop", "--option", "cropping.margin=0.5")
    (folder / "faces/images/P_1_1_5loc_attri.txt").unlink()
    assert command(*check, *margin) == 1
    assert "1 of 60 landmark files are missing (P_1_1_5loc_attri.txt)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "camra=right",
            "camra=right: disfa has no such option; it takes fold, camera, frames, frame_folder",
        ),
        ("camera", "camera: expected KEY=VALUE"),
        ("camera=middle", "camera: takes left or right, not 'middle'"),
        ("fold=two", "fold: takes an integer, not 'two'"),
        ("cropping=Eyes", "cropping: "),
        ("root=elsewhere", "root=elsewhere: disfa has no such option"),
    ],
)
def test_data_check_refuses_an_option_in_one_line(command, option, message):
    line = command("data", "check", "disfa", "nowhere", "--option", option)
    assert line.startswith(f"pcfrl: --option {message}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["cropping=LandmarkCrop", "cropping.margin=-1"], "margin must be 0 or more, got -1.0"),
        (["cropping=YuNetCrop", "cropping.model_path=no.onnx"], "YuNet model no.onnx does not exist: download"),
        (["cropping=YuNetCrop"], "cropping: .*model_path"),  # in the words of jsonargparse
    ],
)
def test_data_check_refuses_an_alignment_in_one_line(command, options, message):
    line = command("data", "check", "disfa", "nowhere", *(word for text in options for word in ("--option", text)))
    assert re.match(f"pcfrl: --option {message}", line)
    assert "\n" not in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--out", "notes.txt/demo"),
        ("bench", "step", "--steps", "1", "--json", "notes.txt/step.json"),
        ("evaluate", "tiny.ckpt", "--data-root", ".", "--tasks", "rafdb", "--out", "notes.txt/out"),
        (
            "fit",
            "--config",
            "configs/pretrain.yaml",
            "--data.root",
            "faces",
            "--trainer.logger.save_dir",
            "notes.txt/x",
        ),
    ],
    ids=["demo", "bench", "evaluate", "fit"],
)
def test_results_that_cannot_be_written_end_in_one_line(command, faces, folder, capsys, arguments):
    (folder / "notes.txt").write_text("a file where a folder should be")
    model = tiny_model()
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, folder / "tiny.ckpt")
    small = ["--model.backbone.width=0.0625", "--data.num_workers=0", "--data.batch_size=4"]
    code = command(*arguments, *(small if arguments[0] == "fit" else ()))
    line = code if isinstance(code, str) else capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("pcfrl")
    assert "notes.txt" in line
    assert "\n" not in line


def test_a_folder_in_place_of_a_file_is_said_before_anything_is_measured(command, folder, capsys):
    assert command("bench", "step", "--json", ".") == 2
    assert "--json . is a folder; give the name of a file in it" in capsys.readouterr().err


def test_missing_training_data_ends_in_one_line(command, folder):
    line = command("fit", "--config", "configs/pretrain.yaml", "--data.root", "nowhere", "--trainer.accelerator=cpu")
    assert line.startswith("pcfrl: nowhere")
    assert "\n" not in line


def test_aliases_stand_for_keys_and_nothing_else_changes():
    given = ["fit", "--baseline", "lbp", "--checkpoint=x.ckpt", "--model.lr=[1e-3,1e-2]"]
    assert expand_aliases(given) == ["fit", "--model.baseline", "lbp", "--model.checkpoint=x.ckpt", given[-1]]


@pytest.mark.parametrize(
    "message",
    [
        "unrecognized arguments: --trainer.max_epoch 3",
        "Unrecognized arguments: --trainer.max_epoch=3",
        "Subcommand 'fit' does not accept option 'trainer.max_epoch'",
        "Validation failed: Subcommand 'fit' does not accept nested key 'trainer.max_epoch'",
    ],
)
def test_a_key_that_no_parser_knows_has_a_near_one(message):
    """In the words of every supported version of jsonargparse."""
    assert summary(message, ["trainer.max_epochs", "data"]) == f"{message}; did you mean --trainer.max_epochs?"


def test_summary_keeps_a_plain_message_and_joins_nested_keys():
    assert summary("unrecognized arguments: --x") == "unrecognized arguments: --x"
    nested = "Parser key \"a\":\n  Errors:\n    - Problem with given class_path 'm.C':"
    nested += "\n        Option 'z' is not accepted"
    assert summary(nested) == "a: Option 'z' is not accepted by C"


def test_a_misspelt_key_of_a_nested_class_is_one_line(command, capsys):
    assert command("fit", "--config", "pcfrl:pretrain", "--model.contrast.calibrater.start_epoch", "1") == 2
    line = capsys.readouterr().err.strip()
    start = "pcfrl: model.contrast: Option 'calibrater.start_epoch' is not accepted by CalibratedContrast"
    assert line.startswith(f"{start}; did you mean calibrator")
    assert "\n" not in line


def test_checkpoint_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")
    for text in ("hello", "a.jpg 1\nb.jpg 2\n", "", "\x80"):
        (tmp_path / "text.ckpt").write_text(text)
        with pytest.raises(DataError, match=r"text\.ckpt is damaged"):
            read_checkpoint(tmp_path / "text.ckpt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match=r"other\.ckpt has no 'state_dict'"):
        read_checkpoint(tmp_path / "other.ckpt")
    model = tiny_model()
    state = {"state_dict": model.state_dict(), "hyper_parameters": {**model.hparams, "image_size": 64}}
    torch.save(state, tmp_path / "wrong.ckpt")
    with pytest.raises(DataError, match=r"wrong\.ckpt does not hold the network"):
        load_encoder(tmp_path / "wrong.ckpt")


def test_a_checkpoint_that_wants_to_run_code_is_refused(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": pytest.raises}, tmp_path / "code.ckpt")
    with pytest.raises(DataError, match=r"code\.ckpt is damaged or is not a plain"):
        read_checkpoint(tmp_path / "code.ckpt")


def test_resuming_with_another_model_is_refused(command, pcfrl, faces):
    small = ["--model.backbone.width=0.0625", "--model.image_size=32", "--data.batch_size=4", "--data.num_workers=0"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"]
    run = ["fit", "--config", "configs/pretrain.yaml", "--data.root", faces, *small, *quiet]
    pcfrl(*run, "--trainer.max_steps=2")
    last = "runs/pretrain/version_0/checkpoints/last.ckpt"
    for change, words in (
        ("--model.contrast.temperature=0.5", "model.face_contrast.temperature is 0.07 there and 0.5 here"),
        ("--model.backbone.width=0.125", "model.backbone.width is 0.0625 there and 0.125 here"),
        ("--model.contrast.calibrator=NoCalibration", "model.pose_contrast.calibrator.class_path is"),
    ):
        line = command(*run, "--ckpt_path", last, change)
        assert line.startswith(f"pcfrl: checkpoint {last} is of another model: ")
        assert words in line
        assert "\n" not in line
    cli = pcfrl(*run, "--ckpt_path", last, "--model.compile_network=false")
    assert cli.trainer.current_epoch == 2


def test_a_probe_is_not_tested_on_another_feature(command, pcfrl, fer2013):
    probe = ["--config", "configs/probe/fer2013.yaml", "--data.root", fer2013, "--data.num_workers=0"]
    probe += ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
    last = "runs/probe/fer2013/checkpoints/last.ckpt"
    assert "the head is not trained" in command("test", *probe, "--baseline", "hog")
    pcfrl("fit", *probe, "--baseline", "hog")
    line = command("test", *probe, "--baseline", "lbp", "--ckpt_path", last)
    assert "model.baseline is hog there and lbp here" in line
    assert "absent.ckpt does not exist" in command("test", *probe, "--baseline", "hog", "--ckpt_path", "absent.ckpt")


def test_one_checkpoint_may_lie_in_two_places(tmp_path):
    for name, content in (("a.ckpt", b"1"), ("b.ckpt", b"1"), ("c.ckpt", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (str(tmp_path / name) for name in ("a.ckpt", "b.ckpt", "c.ckpt"))
    assert differences("checkpoint", a, b) == []
    assert differences("checkpoint", a, c) == [("checkpoint", a, c)]
    assert differences("checkpoint", a, None) == [("checkpoint", a, None)]


def test_settings_of_another_version_are_passed_over():
    old = {"class_path": "m.Head", "init_args": {"temperature": 0.07}}
    new = {"class_path": "m.Head", "init_args": {"temperature": 0.1, "calibrated_mean": "pairs"}}
    assert differences("head", old, new) == [("head.temperature", 0.07, 0.1)]
    default = {"class_path": "AllNegatives", "init_args": {}}
    assert differences("negatives", None, default) == []  # written out since
    assert differences("negatives", None, {"class_path": "RandomNegatives", "init_args": {"count": 3}})
