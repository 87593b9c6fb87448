"""`pcfrl export`: a folder that every command reads, with a card that says what the encoder is."""

import json
import os

import pytest
import torch
import yaml

from pcfrl_lightning import load_encoder
from pcfrl_lightning.cli import export
from pcfrl_lightning.networks import encoder_identity, hub
from tiny import tiny_model


@pytest.fixture
def run(folder):
    """The folder of a run as `fit` leaves it."""
    model, run = tiny_model(), folder / "runs/pretrain/version_0"
    (run / "checkpoints").mkdir(parents=True)
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    # as written when the training ends: `epoch` is one more than after the last epoch
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 20}}}}
    torch.save(content | {"epoch": 20, "global_step": 4480, "loops": loops}, run / "checkpoints/last.ckpt")
    config = {"data": {"class_path": "FaceFolder", "init_args": {"root": "/home/someone/FACES", "batch_size": 128}}}
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"trainer": {"max_epochs": 20}, "seed_everything": 7}))
    return str(run)


def results(folder):
    """One file of `pcfrl test` and one of `pcfrl evaluate`."""
    last = {"accuracy": 0.4628, "confusion": [[1]], "majority_share": 0.2449}
    content = {"task": "expression", "dataset": "fer2013", "features": {"feature": "f_s"}, "metrics": {"last": last}}
    (folder / "results.json").write_text(json.dumps(content))
    row = {"task": "lfw", "dataset": "lfw", "weights": "pretrained", "feature": "f_f", "status": "measured"}
    rows = [row | {"metric": "accuracy", "value": 0.639}, row | {"weights": "random_init", "value": 0.568}]
    (folder / "summary.json").write_text(json.dumps({"rows": [*rows, row | {"status": "absent", "value": None}]}))


def test_the_folder_is_read_back_and_the_card_tells_recipe_and_results(run, folder, capsys):
    results(folder)
    arguments = [
        "--format",
        "safetensors",
        "torchscript",
        "--size",
        "48",
        "--feature",
        "f_f",
        "--license",
        "apache-2.0",
    ]
    arguments += ["--results", "results.json", "summary.json", "--data", "Faces of FER-2013, training split."]
    assert export.main([run, *arguments, "--out", "exported"]) == 0
    assert encoder_identity("exported") == encoder_identity(run)
    names = ["README.md", "config.json", "model.safetensors", "model.torchscript.pt"]
    assert sorted(path.name for path in (folder / "exported").iterdir()) == names
    card = (folder / "exported/README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "pcfrl-lightning"
    for line in (
        "# pretrain-version_0",
        "Faces of FER-2013, training split.",
        "| epochs done | 20 |",
        "| steps | 4480 |",
        "| images | FACES |",
        "| seed | 7 |",
        "| expression | fer2013 | f_s | accuracy | 0.4628 |",
        "| lfw | lfw | f_f | accuracy | 0.6390 |",
        "## Licence",
        "## Intended use",
        "## Limits",
    ):
        assert f"\n{line}" in card
    assert "`model.torchscript.pt`: input `images` (B, 3, H, W), RGB, float32, any height and width" in card
    assert "0.5680" not in card
    assert "someone" not in card
    assert "wrote exported: load_encoder('exported') reads it" in capsys.readouterr().out


def test_half_precision_halves_the_file_and_is_what_graphs_are_made_of(run, folder, capsys):
    for out, more in (("whole", []), ("halved", ["--half", "--format", "torchscript", "--name", "my faces"])):
        assert export.main([run, "--out", out, *more]) == 0
    whole, halved = (folder / out / "model.safetensors" for out in ("whole", "halved"))
    assert 0.5 * whole.stat().st_size < halved.stat().st_size < 0.6 * whole.stat().st_size
    assert {path.stat().st_mode & 0o777 for path in halved.parent.iterdir()} == {0o666 & ~umask()}
    encoder, images = load_encoder(halved.parent), torch.rand(2, 3, 100, 100)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    expected = load_encoder(whole.parent).features(images)["f_s"]
    assert torch.allclose(encoder.features(images)["f_s"], expected, atol=1e-2 * float(expected.abs().max()))
    script = torch.jit.load(halved.parent / "model.torchscript.pt")
    assert torch.allclose(script(images)[0], encoder.features(images)["f_s"], atol=1e-5)
    assert "\n# my faces\n" in (halved.parent / "README.md").read_text()


def test_a_weight_that_half_precision_cannot_hold_is_named(run, folder, command):
    path = folder / run / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["network.face_subnet.0.0.weight"][0] = 1e5
    torch.save(content, path)
    line = command("export", run, "--half", "--out", "x")
    assert line == "pcfrl: face_subnet.0.0.weight has values that are too large for torch.float16"
    assert not (folder / "x/model.safetensors").exists()


def umask():
    before = os.umask(0)
    os.umask(before)
    return before


def test_what_is_not_known_is_said(run, folder):
    tiny_model().network.save(folder / "plain")
    assert export.main(["plain", "--out", "again"]) == 0
    card = (folder / "again/README.md").read_text()
    assert "## Training\n\nNot stated." in card
    assert "## Results\n\nNone given." in card
    assert "license: other" in card
    assert load_encoder("again").feature_names == ("f_s", "f_f", "f_p")


def test_it_is_pushed_when_asked(run, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(hub, "push", lambda folder, name, private: calls.append((str(folder), name, private)) or "URL")
    assert export.main([run, "--out", "exported", "--push", "me/faces"]) == 0
    assert export.main([run, "--out", "exported", "--push", "me/faces", "--public"]) == 0
    assert calls == [("exported", "me/faces", True), ("exported", "me/faces", False)]
    assert "pushed to URL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN", "--results", "nothing.json"], "nothing.json"),
        (["RUN", "--results", "bad.json"], "bad.json is no results.json of pcfrl test"),
        (["RUN", "--feature", "f_x"], "this encoder has f_s, f_f, f_p"),
        (["RUN", "--format", "tflite"], "invalid choice: 'tflite'"),
        (["RUN", "--out", "bad.json"], "is a file; give a folder"),
        (["absent.ckpt"], "absent.ckpt does not exist"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(run, folder, command, capsys, arguments, words):
    (folder / "bad.json").write_text("[1]")
    out = [] if "--out" in arguments else ["--out", "x"]
    code = command("export", *[run if word == "RUN" else word for word in arguments], *out)
    line = code if isinstance(code, str) else capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("pcfrl")
    assert words in line


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
LAUGHS += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize("value", ["*a8", "{a: *a8}", "2020-01-01", '"x | y\\n\\n# z"', "[1]"])
def test_a_config_cannot_put_more_than_a_cell_into_the_card(run, folder, value):
    (folder / run / "config.yaml").write_text(LAUGHS + f"optimizer: {{init_args: {{lr: {value}}}}}\ndata: 7\n")
    export.main([run, "--out", "x"])
    card = (folder / "x/README.md").read_text()
    assert len(card) < 5000
    assert [line for line in card.splitlines() if line.startswith("| learning")] in (
        [],
        ["| learning rate | x / y # z |"],
    )
    assert "| epochs done | 20 |" in card


@pytest.mark.parametrize(
    "text", ["a: [", "a: !!python/object/apply:os.system [touch harmed]", "[" * 3000, "a: 1\n---\nb: 2"]
)
def test_a_config_that_is_none_is_one_line(run, folder, command, text):
    (folder / run / "config.yaml").write_text(text)
    assert "config.yaml: not the config of a run" in command("export", run, "--out", "x")
    assert not (folder / "harmed").exists()


def test_numbers_of_a_checkpoint_that_are_none(run, folder):
    path = folder / run / "checkpoints/last.ckpt"
    torch.save(torch.load(path, weights_only=True) | {"loops": "x", "global_step": [1]}, path)
    assert export.main([run, "--out", "x"]) == 0


@pytest.mark.parametrize("text", ["[" * 300_000, "[1]", '{"rows": 7}', '{"rows": ' + "9" * 9000 + "}", ""])
def test_results_that_are_none_are_one_line(run, folder, command, text):
    (folder / "bad.json").write_text(text)
    assert "bad.json is no results.json" in command("export", run, "--out", "x", "--results", "bad.json")


@pytest.mark.parametrize(
    ("name", "text"), [("README.md", "mine"), ("config.json", '{"architectures": ["Bert"]}'), ("model.onnx", "")]
)
def test_files_of_something_else_are_not_replaced(run, folder, command, capsys, name, text):
    (folder / "mine").mkdir()
    (folder / "mine" / name).write_text(text)
    assert command("export", run, "--out", "mine") == 2
    assert f"--out mine: {name} there is of something else and is not replaced" in capsys.readouterr().err
    assert [path.read_text() for path in (folder / "mine").iterdir()] == [text]


def test_an_export_is_replaced_and_other_files_stay(run, folder):
    (folder / "mine").mkdir()
    (folder / "mine/notes.txt").write_text("mine")
    for name in ("first", "second"):
        assert export.main([run, "--out", "mine", "--name", name]) == 0
    assert "# second" in (folder / "mine/README.md").read_text()
    assert (folder / "mine/notes.txt").read_text() == "mine"


def test_a_wrong_file_of_results_leaves_nothing_behind(run, folder, command):
    assert command("export", run, "--results", "no.json", "--out", "x").startswith("pcfrl: no.json does not exist; ")
    assert not (folder / "x").exists()
