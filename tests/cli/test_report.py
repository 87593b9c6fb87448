"""`pcfrl report`: options that cannot be are said in one line, before anything is read or written."""

import pytest

from pcfrl_lightning.cli import report


@pytest.fixture
def run(folder):
    """A run without weights: its curves alone."""
    path = folder / "runs/pretrain/version_0"
    path.mkdir(parents=True)
    (path / "metrics.csv").write_text("epoch,train/loss_epoch,train/images_seen\n0,1.5,64\n1,1.25,128\n")
    return str(path)


def test_the_page_is_written_and_its_place_is_said(run, folder, capsys):
    assert report.main([f"mine={run}", "--out", "new/report"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "report: new/report/report.html"
    text = (folder / "new/report/report.md").read_text()
    assert text.startswith("# Report: mine\n")
    assert "| mine | unknown | default |  | 128 | 2 |" in text
    assert (folder / "new/report/figures/training_loss.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "file"], "--out file is a file; give a folder"),
        (["--data-root", "faces"], "--data-root and --option go with --data"),
        (["--option", "test_size=3"], "--data-root and --option go with --data"),
        (["--data", "fer"], "--data fer is not known; did you mean fer2013?; known are 300w, "),
        (["--data", "fer2013"], "--data fer2013 needs --data-root, the folder of the images"),
        (["--data", "fer2013", "--data-root", "."], "no FER-2013 found"),
        (["--data", "FaceFolder", "--data-root", "absent"], "absent: does not exist"),
        (["--data", "SyntheticFaces", "--option", "test_siz=3"], "synthetic has no such option; it takes train_size"),
        (["--data", "SyntheticFaces", "--option", "test_size=x"], "--option test_size: takes an integer, not 'x'"),
        (["--data", "SyntheticFaces", "--option", "test_size"], "--option test_size: expected KEY=VALUE"),
    ],
)
def test_a_wrong_option_is_said_first(run, folder, command, capsys, arguments, words):
    (folder / "file").touch()
    out = [] if "--out" in arguments else ["--out", "report"]
    assert command("report", run, *out, *arguments) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("pcfrl report: ")
    assert words in line
    assert "\n" not in line
    assert not (folder / "report").exists()


def test_a_folder_without_a_run_leaves_no_report_behind(folder, command):
    assert "runs is not a folder" in command("report", "runs", "--out", "report")
    assert not (folder / "report").exists()
    (folder / "file").touch()
    (folder / "metrics.csv").write_text("epoch,train/loss_epoch\n0,1.5\n")
    assert "file" in command("report", ".", "--out", "file/report")


def test_faces_need_no_folder_where_they_are_rendered(folder):
    data = report._data("SyntheticFaces", None, ["batch_size=7"])
    assert data is not None
    assert data.batch_size == 7
    assert report._data(None, None, []) is None
