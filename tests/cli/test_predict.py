"""`pcfrl predict`: a checkpoint and images are enough; features are written batch by batch, whole or not at all."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning import load_encoder
from pcfrl_lightning.cli import predict
from pcfrl_lightning.data import FaceFolder
from pcfrl_lightning.errors import UsageError
from tiny import tiny_model

QUIET = ["--num-workers", "0", "--device", "cpu"]


@pytest.fixture
def encoder(folder):
    """A checkpoint as `fit` writes it, of a network made for 32 px."""
    model = tiny_model()
    run = folder / "runs/pretrain/version_0/checkpoints"
    run.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, run / "last.ckpt")
    return str(run / "last.ckpt")


def test_features_names_and_provenance(encoder, faces, folder, capsys):
    assert predict.main([encoder, str(faces), *QUIET, "--image-size", "40", "--batch-size", "5"]) == 0
    out = folder / "runs/predict/pretrain-version_0-last"
    names = (out / "names.txt").read_text().splitlines()
    assert names == sorted(path.name for path in faces.iterdir())
    assert np.load(out / "index.npy").tolist() == list(range(12))
    images = next(iter(FaceFolder(faces, image_size=40, num_workers=0).image_loader("train")))["image"]
    for name, expected in load_encoder(encoder).features(images).items():
        written = np.load(out / f"features_{name}.npy", mmap_mode="r")
        assert written.dtype == np.float32
        torch.testing.assert_close(torch.from_numpy(np.array(written)), expected, atol=1e-5, rtol=1e-4)
    about = json.loads((out / "config.json").read_text())
    assert about["image_size"] == 40
    assert about["precision"] == "float32"
    assert about["features"]["f_s"] == [12, written.shape[1]] or set(about["features"]) == {"f_s", "f_f", "f_p"}
    assert about["encoder_config"]["class"].endswith("PCFRLNetwork")
    assert not list(out.glob("*.part"))


def test_the_size_of_the_probes_is_the_default_and_said(encoder, faces, folder, capsys):
    assert predict.main([encoder, str(faces), *QUIET, "--feature", "f_p", "--out", "out"]) == 0
    assert "12 images at 100 px; the encoder was trained at 32 px (--image-size)" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "config.json", "features_f_p.npy", "index.npy", "names.txt",
    ]  # fmt: skip


def test_unreadable_images_are_listed_and_left_out(encoder, folder, capsys):
    root = folder / "many"
    root.mkdir()
    for index in range(120):
        Image.new("RGB", (32, 32), (index, 0, 0)).save(root / f"{index:03d}.png")
    (root / "007.png").write_bytes(b"")
    raw = os.fsencode(root) + b"/caf\xe9.png"  # a name that is not UTF-8
    os.rename(os.fsencode(root / "119.png"), raw)
    assert predict.main([encoder, str(root), *QUIET, "--image-size", "32", "--feature", "f_s", "--out", "out"]) == 0
    names = (folder / "out/names.txt").read_bytes().splitlines()
    assert len(names) == 119
    assert b"caf\xe9.png" in names
    assert 7 not in np.load(folder / "out/index.npy")
    assert json.loads((folder / "out/config.json").read_text())["left_out"] == ["007.png"]
    assert "left out, cannot be read: 007.png" in capsys.readouterr().out


def test_the_former_command_names_the_new_one(command, capsys, folder):
    old = ["--config", "configs/pretrain.yaml", "--data.root", "faces", "--ckpt_path", "last"]
    assert command("predict", *old) == 2
    line = capsys.readouterr().err
    assert line.startswith("pcfrl predict: a checkpoint is enough now: pcfrl predict CHECKPOINT FACES")
    assert line.count("\n") == 1
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.ckpt", "faces"], "absent.ckpt does not exist"),
        (["ENCODER", "nowhere"], "nowhere: does not exist"),
        (["ENCODER", "empty"], "empty"),
        (["ENCODER", "faces", "--feature", "f_x"], "this encoder has f_s, f_f, f_p"),
        (["ENCODER", "faces", "--image-size", "2"], "ENCODER"),
        (["ENCODER", "faces", "--device", "mps"], "must be auto, cpu, cuda"),
        (["ENCODER", "faces", "--precision", "tf32"], "needs a GPU"),
        (["ENCODER", "faces", "--weights", "w.pth"], "weights"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(encoder, faces, folder, command, capsys, arguments, words):
    (folder / "empty").mkdir()
    code = command("predict", *[encoder if word == "ENCODER" else word for word in arguments], *QUIET[:2])
    line = code if isinstance(code, str) else capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("pcfrl")
    assert words.replace("ENCODER", "") in line
    assert not list(folder.rglob("*.npy"))


def test_an_interruption_leaves_the_earlier_features(encoder, faces, folder, monkeypatch):
    run = [encoder, str(faces), *QUIET, "--image-size", "32", "--batch-size", "4", "--out", "out"]
    predict.main(run)
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}

    def batches():
        yield torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
        raise KeyboardInterrupt

    extract = load_encoder(encoder).features
    with pytest.raises(KeyboardInterrupt):
        predict.write_features(folder / "out", extract, batches(), 12, ["f_s", "f_p"])
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


def test_features_that_are_not_finite_are_refused(folder):
    def broken(images):
        return {"f_s": torch.full((len(images), 2), float("nan"))}

    with pytest.raises(UsageError, match="f_s is not finite for images 0 to 3"):
        predict.write_features(folder, broken, [torch.zeros(4, 3, 8, 8, dtype=torch.uint8)], 4, ["f_s"])
    assert not list(folder.glob("*.npy*"))
