"""`pcfrl embed`: a checkpoint and pictures are enough; one file, whole or not at all."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning import load_encoder
from pcfrl_lightning.cli import embed
from pcfrl_lightning.embedding.videos import Item
from tiny import tiny_model


@pytest.fixture
def encoder(folder):
    """A checkpoint as `fit` writes it, of a network made for 32 px."""
    model = tiny_model()
    run = folder / "runs/pretrain/version_0/checkpoints"
    run.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, run / "last.ckpt")
    return str(run / "last.ckpt")


def test_rows_are_the_features_of_the_pictures_of_a_folder_in_order(encoder, faces, folder, capsys):
    assert embed.main([encoder, str(faces), "--image-size", "40", "--batch-size", "5", "--out", "out/f.npz"]) == 0
    with np.load("out/f.npz") as data:
        arrays = {name: data[name] for name in data.files if name.endswith("json") is False}
        about = json.loads(data["about.json"])
    names = sorted(path.name for path in faces.iterdir())
    assert arrays.pop("name").tolist() == names
    assert arrays.pop("index").tolist() == list(range(12))
    assert arrays.pop("frame").tolist() == [-1] * 12
    assert np.isnan(arrays.pop("time")).all()
    expected = load_encoder(encoder).embed([faces / name for name in names], image_size=40)
    assert list(arrays) == list(expected) == ["f_s", "f_f", "f_p"]
    for name, value in arrays.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected[name], atol=1e-5, rtol=1e-4)
    assert about["image_size"] == 40
    assert about["rows"] == 12
    assert about["unreadable"] == []
    assert about["encoder"] == "pretrain-version_0-last"
    assert about["encoder_config"]["class"].endswith("PCFRLNetwork")
    assert os.listdir("out") == ["f.npz"]
    assert "wrote out/f.npz: 12 rows, f_s (12, " in capsys.readouterr().out


def test_parquet_has_the_same_rows_and_the_size_of_the_probes_is_said(encoder, faces, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    run = os.path.dirname(os.path.dirname(encoder))
    assert embed.main([run, str(faces), "--feature", "f_p", "--out", "faces.parquet"]) == 0
    assert "pretrain-version_0: f_p at 100 px (--image-size)" in capsys.readouterr().out
    assert embed.main([run, str(faces), "--feature", "f_p", "--out", "rows", "--format", "npz"]) == 0
    table, arrays = parquet.read_table("faces.parquet"), np.load("rows")
    assert table.column_names == ["name", "index", "frame", "time", "f_p"]
    assert table["name"].to_pylist() == arrays["name"].tolist()
    assert np.array_equal(np.array(table["f_p"].to_pylist(), np.float32), arrays["f_p"])
    assert json.loads(table.schema.metadata[b"pcfrl"])["features"] == ["f_p"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_camera_is_ended_by_ctrl_c_and_the_file_is_written(encoder, folder, command, monkeypatch, number, status):
    def camera(*_):
        for frame in range(100):
            if frame == 40:
                os.kill(os.getpid(), number)
            yield Item("webcam:0", lambda: np.zeros((32, 32, 3), np.uint8), frame / 10, frame)

    monkeypatch.setattr("pcfrl_lightning.embedding.inputs.webcam_items", camera)
    assert command("embed", encoder, "webcam", "--image-size", "32", "--out", "me.npz") == status
    assert (folder / "me.npz").exists() == (status == 0)
    if status == 0:
        with np.load("me.npz") as data:
            assert data["frame"].tolist() == list(range(len(data["frame"])))
            assert 24 <= len(data["frame"]) <= 40


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_says_how_to_go_on(encoder, faces, command, capsys, monkeypatch, number, status):
    def walk(_):
        yield "0.png"
        os.kill(os.getpid(), number)
        yield "1.png"

    monkeypatch.setattr("pcfrl_lightning.embedding.inputs.walk", walk)
    assert command("embed", encoder, "faces", "--image-size", "32", "--out", "f.npz") == status
    assert "; the same command goes on with what is in f.npz.parts" in capsys.readouterr().err


def test_what_cannot_be_read_is_left_out_listed_and_in_the_exit_status(encoder, folder, capsys):
    root = folder / "many"
    root.mkdir()
    for index in range(30):
        Image.new("RGB", (32, 32), (index, 0, 0)).save(root / f"{index:03d}.png")
    for index in range(25):
        (root / f"{index:03d}.png").write_bytes(b"")
    os.rename(os.fsencode(root / "029.png"), os.fsencode(root) + b"/caf\xe9.png")  # a name that is not UTF-8
    assert embed.main([encoder, str(root), "--image-size", "32", "--batch-size", "4", "--out", "f.npz"]) == 1
    with np.load("f.npz") as data:
        assert data["index"].tolist() == [25, 26, 27, 28, 29]
        assert [os.fsencode(name) for name in data["name"].tolist()][-1] == b"caf\xe9.png"
        assert data["f_s"].shape[0] == 5
        assert json.loads(data["about.json"])["unreadable"] == [f"{index:03d}.png: empty file" for index in range(25)]
    printed = capsys.readouterr()
    assert printed.err.count("left out: 0") == 20
    assert "left out: 5 more, all are listed in f.npz" in printed.err
    assert "5 rows, " in printed.out
    if pytest.importorskip("pyarrow"):
        assert embed.main([encoder, str(root), "--image-size", "32", "--out", "f.parquet"]) == 1


def test_lists_with_labels_patterns_and_several_inputs(encoder, faces, folder):
    (folder / "list.csv").write_text("path,label\n3.png,happy\n11.png,sad\n")
    small = ["--image-size", "32", "--feature", "f_s"]

    def names(*inputs):
        assert embed.main([encoder, *inputs, *small, "--out", "f.npz"]) == 0
        return np.load("f.npz")["name"].tolist()

    assert names("list.csv", "--root", "faces") == ["3.png", "11.png"]
    assert names("faces/1?.png") == ["faces/10.png", "faces/11.png"]
    assert names("faces/2.png", "faces/1.png") == ["faces/2.png", "faces/1.png"]
    assert names("faces", "list.csv", "--root", "faces")[-3:] == ["faces/9.png", "list.csv/3.png", "list.csv/11.png"]


def test_faces_are_cut_out_by_the_detector(encoder, faces, folder, monkeypatch):
    class Detector:
        def setInputSize(self, size):
            assert size == (40, 40)

        def detect(self, image):
            return 1, np.array([[4.0, 6.0, 20.0, 20.0, 0.9]], np.float32)

    (folder / "yunet.onnx").write_bytes(b"weights")
    monkeypatch.setattr("cv2.FaceDetectorYN.create", lambda *_: Detector())
    crop = ["--crop", "yunet", "--yunet-model", "yunet.onnx"]
    assert embed.main([encoder, "faces/1.png", *crop, "--feature", "f_s", "--out", "f.npz"]) == 0
    # the box x 4..23, y 6..25 has side 19, with 0.15 of it on each side 25 px, around (14, 16)
    cut = np.asarray(Image.open("faces/1.png"))[4:29, 2:27]
    expected = load_encoder(encoder).embed(cut)["f_s"]
    np.testing.assert_allclose(np.load("f.npz")["f_s"], expected, atol=1e-5)


def test_the_former_command_names_the_new_one(command, folder):
    line = command("predict", "x.ckpt", "faces")
    assert line == "pcfrl: `predict` is `embed` now: pcfrl embed X.ckpt FACES --out F.npz"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.ckpt", "faces"], "absent.ckpt does not exist"),
        (["ENCODER", "nowhere"], "nowhere: does not exist"),
        (["ENCODER", "no*.png"], "no*.png: no image or video matches"),
        (["ENCODER", "empty"], "empty: no images or videos found"),
        (["ENCODER", "bad"], "none of 1 pictures can be read; the first: x.png: empty file"),
        (["ENCODER", "list.txt"], "list.txt:2: 'no picture' does not begin with"),
        (["ENCODER", "faces", "--feature", "f_x"], "this encoder has f_s, f_f, f_p"),
        (["ENCODER", "faces", "--image-size", "2"], "sides must be 16 px"),
        (["ENCODER", "faces", "--device", "mps"], "must be auto, cpu, cuda"),
        (["ENCODER", "faces", "--precision", "tf32"], "needs a GPU"),
        (["ENCODER", "faces", "--weights", "w.pth"], "weights"),
        (["ENCODER", "faces", "--crop", "yunet"], "--yunet-model"),
        (["ENCODER", "faces", "--fps", "0"], "must be a number above 0"),
        (["ENCODER", "faces", "--out", "empty", "--format", "npz"], "empty is a folder"),
        (["ENCODER", "faces", "--out", "f.csv"], "ends in .npz or .parquet"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(encoder, faces, folder, command, capsys, arguments, words):
    for name in ("empty", "bad"):
        (folder / name).mkdir()
    (folder / "bad/x.png").touch()
    (folder / "list.txt").write_text("faces/1.png\nno picture\n")
    out = [] if "--out" in arguments else ["--out", "f.npz"]
    code = command("embed", *[encoder if word == "ENCODER" else word for word in arguments], *out)
    line = code if isinstance(code, str) else capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("pcfrl")
    assert words in line
    assert not list(folder.glob("f.npz"))


def test_without_a_name_the_file_is_features_npz_which_is_not_replaced(encoder, faces, folder, command, capsys):
    arguments = ("embed", encoder, "faces/3.png", "--image-size", "32")
    assert command(*arguments) == 0
    assert "wrote features.npz: 1 rows" in capsys.readouterr().out
    assert command(*arguments) == 2
    assert "features.npz is there already; give --out FILE" in capsys.readouterr().err


def test_paths_of_a_list_that_are_nowhere_are_said_to_begin_at_the_root(encoder, faces, folder, command):
    (folder / "labels.csv").write_text("file,emotion\n3.png,happy\n4.png,sad\n")
    line = command("embed", encoder, "labels.csv", "--image-size", "32", "--out", "f.npz")
    assert line.endswith("; the paths in labels.csv begin at .: is that right? (--root)")
    assert command("embed", encoder, "labels.csv", "--root", faces, "--image-size", "32", "--out", "f.npz") == 0


@pytest.mark.parametrize("rate", ["x", "0", "nan", "1e400"])
def test_a_rate_is_a_number_above_0(command, capsys, rate):
    assert command("embed", "x.ckpt", "m.mp4", "--out", "f.npz", "--fps", rate) == 2
    assert f"argument --fps: must be a number above 0, got '{rate}'" in capsys.readouterr().err
