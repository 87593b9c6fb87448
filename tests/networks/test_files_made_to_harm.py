"""Files that name what they should not: nothing of it is called, and the message is one line with the file's name."""

import os
import re
import zipfile
from contextlib import suppress

import pytest
import torch
from torch import nn

from pcfrl_lightning import PCFRL, load_encoder
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.methods import SimCLR
from pcfrl_lightning.networks import FaceBackbone, encoder_identity, untrained_encoder
from pcfrl_lightning.networks.checkpoint import load_weights, read_checkpoint

OWN = "pcfrl_lightning.networks"
BACKBONE = {"class_path": f"{OWN}.FaceBackbone", "init_args": {"width": 0.0625}}
READERS = (load_encoder, lambda path: untrained_encoder(path, 0), PCFRL.load_from_checkpoint, encoder_identity)


@pytest.fixture(scope="module")
def good():
    torch.manual_seed(0)
    module = PCFRL(FaceBackbone(0.0625), image_size=32, projection_dim=8)
    settings = {"backbone": BACKBONE, "image_size": 32, "projection_dim": 8}
    return {"state_dict": module.state_dict(), "hyper_parameters": settings}


@pytest.fixture
def calls(monkeypatch):
    """Names of what a file managed to call; other calls would leave a file behind."""
    made = []
    for path in ("os.system", "subprocess.call", "torch.hub.load"):
        monkeypatch.setattr(path, lambda *a, path=path, **k: made.append(path))
    return made


HARM = {
    "os.system": {"class_path": "os.system", "init_args": {"command": "touch harmed"}},
    "nested in an own class": {
        "class_path": f"{OWN}.FaceBackbone",
        "init_args": {"width": {"class_path": "os.system", "init_args": {"command": "touch harmed"}}},
    },
    "in dict_kwargs": {"class_path": "FaceBackbone", "dict_kwargs": {"width": {"class_path": "os.system"}}},
    "in a list": {"class_path": "FaceBackbone", "init_args": {"width": [{"class_path": "builtins.exec"}]}},
    "in a mapping": {"class_path": "FaceBackbone", "init_args": {"width": {"a": {"class_path": "subprocess.call"}}}},
    "builtins.open": {"class_path": "builtins.open", "init_args": {"file": "harmed", "mode": "w"}},
    "builtins.exec": {"class_path": "builtins.exec", "init_args": {"source": "1"}},
    "bare name of a builtin": {"class_path": "exec"},
    "function of the project": {"class_path": f"{OWN}.rebuild.describe", "init_args": {"marker": 1}},
    "what a module of the project imports": {"class_path": f"{OWN}.encoder.os.system"},
    "own class, no module": {"class_path": "pcfrl_lightning.data.FaceFolder", "init_args": {"root": "."}},
    "own class of another kind": {"class_path": "pcfrl_lightning.errors.DataError"},
    "own LightningModule": {"class_path": "pcfrl_lightning.PCFRL"},
    "own probe": {"class_path": "pcfrl_lightning.probes.ExpressionProbe"},
    "module of another package": {"class_path": "torch.nn.Identity"},
    "loader of another package": {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "a/b", "model": "c"}},
    "abstract class": {"class_path": f"{OWN}.Encoder"},
    "no name": {"class_path": ["os", "system"]},
    "empty name": {"class_path": ""},
    "unknown argument": {"class_path": "FaceBackbone", "init_args": {"depth": 3}},
    "wide": {"class_path": "FaceBackbone", "init_args": {"width": 1e5}},
    "infinitely wide": {"class_path": "FaceBackbone", "init_args": {"width": 1e300}},
    "text for a number": {"class_path": "FaceBackbone", "init_args": {"width": "1"}},
    "wide, beside an argument that fails": {
        "class_path": f"{OWN}.PCFRLNetwork",
        "init_args": {"backbone": {"class_path": "FaceBackbone", "init_args": {"width": 1e3}}, "meta": 1},
    },
    "hub of timm": {"class_path": "TimmBackbone", "init_args": {"model_name": "hf-hub:some/one"}},
    "a string": "os.system",
    "a number": 7,
}


@pytest.mark.parametrize("harm", HARM)
def test_what_a_backbone_may_not_be(good, calls, tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.ckpt"
    torch.save({**good, "hyper_parameters": {**good["hyper_parameters"], "backbone": HARM[harm]}}, path)
    for read in READERS:
        with pytest.raises(DataError, match=r"bad\.ckpt") as error:
            read(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500
        if harm == "wide":  # compared on the meta device, not refused by the memory
            assert "has shape" in str(error.value)
    assert calls == []
    assert os.listdir() == ["bad.ckpt"]


@pytest.mark.parametrize("key", ["class_path", "encoder", "_instantiator", "face_contrast"])
def test_other_places_where_a_file_names_code(good, calls, tmp_path, key):
    path, harm = tmp_path / "bad.ckpt", {"class_path": "os.system", "init_args": {"command": "true"}}
    settings = good["hyper_parameters"]
    if key == "encoder":
        torch.save({**good, "encoder": {"format": 1, "class": "os.system", "init_args": {"command": "true"}}}, path)
    else:
        value = "os.system" if key == "_instantiator" else harm
        torch.save({**good, "hyper_parameters": {**settings, key: value}}, path)
    for read in (load_encoder, PCFRL.load_from_checkpoint):
        with suppress(DataError):  # some readers do not look at the entry
            read(path)
    assert calls == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"hyper_parameters": "os.system"}, "'hyper_parameters' is not a dictionary"),
        ({"hyper_parameters": {1: 2}}, "'hyper_parameters' is not a dictionary"),
        ({"state_dict": 3}, "'state_dict' is not a dictionary of named tensors"),
        ({"state_dict": {"network.a": "text"}}, "'state_dict' is not a dictionary of named tensors"),
        ({"state_dict": {}}, "missing backbone"),
        ({"encoder": 7}, "class and init_args"),
        (
            {"encoder": {"class": "PCFRLNetwork", "init_args": {"image_size": 10**9, "backbone": BACKBONE}}},
            "image_size",
        ),
        ({"hyper_parameters": {"backbone": BACKBONE, "projection_dim": 10**12}}, "does not hold"),
        ({"hyper_parameters": {"backbone": BACKBONE, "image_size": "32"}}, "does not hold"),
    ],
)
def test_damaged_entries_are_said_in_a_line(good, tmp_path, entries, message):
    torch.save({**good, **entries}, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=message) as error:
        load_encoder(tmp_path / "bad.ckpt")
    assert "bad.ckpt" in str(error.value)
    assert "\n" not in str(error.value)


def endless():
    width = {}
    width["a"] = width
    return width


def doubled():
    """2 ** 60 numbers in a few kilobytes."""
    width = 1
    for _ in range(30):
        width = [{"a": width, "b": width}] * 2
    return width


@pytest.mark.parametrize("width", [endless, doubled])
@pytest.mark.parametrize("place", ["hyper_parameters", "encoder", "trained_on"])
def test_a_description_without_end(good, tmp_path, width, place):
    spec = {"class_path": "FaceBackbone", "init_args": {"width": width()}}
    torch.save({**good, place: {"backbone": spec}}, tmp_path / "bad.ckpt")
    for read in READERS:
        with pytest.raises(DataError, match=r"bad\.ckpt .*nests more than 100000 values"):
            read(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("how", ["compressed", "one record under many names"])
def test_a_file_that_unpacks_to_more_than_it_holds(good, tmp_path, how):
    torch.save({**good, "zeros": torch.zeros(1 << 18)}, tmp_path / "good.ckpt")
    with zipfile.ZipFile(tmp_path / "good.ckpt") as archive, zipfile.ZipFile(tmp_path / "bad.ckpt", "w") as bad:
        for info in archive.infolist():
            packed = zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED
            bad.writestr(info.filename, archive.read(info), packed)
        if how != "compressed":
            bad.filelist.extend([max(bad.filelist, key=lambda info: info.file_size)] * 10)
    for read in (*READERS, load_weights):
        with pytest.raises(DataError, match=r"bad\.ckpt .*would unpack to \d+ MB, more than the file has"):
            read(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("name", ["EnlargingConv", "Decoder"])
def test_maps_of_absurd_size_are_refused_before_memory_is_asked_for(good, tmp_path, name):
    sizes = {
        "EnlargingConv": {"in_channels": 3, "out_channels": 8, "in_size": 40_000, "size": 8},
        "Decoder": {"in_features": 3, "image_size": 80_000},
    }
    settings = {"backbone": {"class_path": name, "init_args": sizes[name]}, "image_size": 32, "projection_dim": 8}
    torch.save({**good, "hyper_parameters": settings}, tmp_path / "bad.ckpt")
    for read in READERS:
        with pytest.raises(DataError, match=r"bad\.ckpt .*at most 4096"):
            read(tmp_path / "bad.ckpt")


def test_no_image_of_the_size_that_a_file_names_is_made(tmp_path, monkeypatch):
    """SimCLR's weights are the same for every size: only the forward pass that finds the shape of the map knows it."""
    method = SimCLR(FaceBackbone(0.0625), image_size=32, projection_dim=8)
    content = {"state_dict": method.state_dict(), "hyper_parameters": {**method.hparams, "image_size": 4096}}
    torch.save({**content, "encoder": {**method.network.config}}, tmp_path / "large.ckpt")
    seen = []
    forward = FaceBackbone.forward
    monkeypatch.setattr(FaceBackbone, "forward", lambda self, x: seen.append(x.device.type) or forward(self, x))
    SimCLR.load_from_checkpoint(tmp_path / "large.ckpt")
    assert set(seen) == {"meta"}
    torch.save({**content, "hyper_parameters": {**method.hparams, "image_size": 30_000}}, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=r"bad\.ckpt .*at most 4096"):
        SimCLR.load_from_checkpoint(tmp_path / "bad.ckpt")


def test_expanded_tensors_do_not_make_us_allocate_what_the_file_does_not_hold(good, tmp_path):
    """Stride 0 gives a tensor any shape at the price of one number."""
    with torch.device("meta"):
        shapes = PCFRL(FaceBackbone(8.0), image_size=32, projection_dim=8).network.state_dict()
    state = {f"network.{key}": torch.zeros(()).expand(value.shape) for key, value in shapes.items()}
    settings = {"backbone": {"class_path": "FaceBackbone", "init_args": {"width": 8.0}}, "image_size": 32}
    torch.save({"state_dict": state, "hyper_parameters": {**settings, "projection_dim": 8}}, tmp_path / "bad.ckpt")
    assert (tmp_path / "bad.ckpt").stat().st_size < 1e6
    for read in READERS:
        with pytest.raises(DataError, match=r"bad\.ckpt.*would take \d+ MB, more than the file has"):
            read(tmp_path / "bad.ckpt")


def test_classes_of_a_trusted_package_only(good, tmp_path, monkeypatch):
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/__init__.py").write_text("import os\nfrom torch.nn import Identity\n")
    (tmp_path / "my_package/nets.py").write_text(
        "from pcfrl_lightning.networks import FaceBackbone\n\n\nclass Mine(FaceBackbone):\n    pass\n"
        "\n\ndef function(width):\n    raise SystemExit\n\n\nclass Plain:\n    function = function\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "mine.ckpt"

    def load(name, **kwargs):
        spec = {"class_path": name, "init_args": {"width": 0.0625}}
        torch.save({**good, "hyper_parameters": {**good["hyper_parameters"], "backbone": spec}}, path)
        return load_encoder(path, **kwargs)

    with pytest.raises(DataError, match=re.escape("trust=['my_package']")):
        load("my_package.nets.Mine")
    with pytest.raises(DataError, match="not part of this project"):
        load("my_package.nets.Mine", trust=["my_pack"])
    encoder = load("my_package.nets.Mine", trust=["my_package"])
    assert type(encoder.backbone).__name__ == "Mine"
    assert isinstance(load("my_package.nets.Mine", trust="my_package.nets").backbone, FaceBackbone)
    assert isinstance(PCFRL.load_from_checkpoint(path, trust=["my_package"]).network.backbone, FaceBackbone)
    (tmp_path / "my_package/asks.py").write_text(
        "import torch\nfrom my_package.nets import Mine\n\n\nclass Asks(Mine):\n"
        "    def __init__(self, width):\n        super().__init__(torch.tensor(width).item())\n"
    )
    assert load("my_package.asks.Asks", trust=["my_package"]).backbone.width == 0.0625  # impossible on the meta device
    for name in (
        "my_package.nets.Plain",
        "my_package.nets.function",
        "my_package.os.system",
        "my_package.Identity",
        "my_package.nowhere.X",
    ):
        with pytest.raises(DataError, match=re.escape(name)):
            load(name, trust=["my_package"])


class Payload:
    def __reduce__(self):
        return (os.mkdir, ("harmed",))


def test_objects_in_a_pickle_are_named_and_not_made(good, tmp_path, monkeypatch):
    import argparse

    import numpy as np

    monkeypatch.chdir(tmp_path)
    for value, name in [
        (np.float64(0.5), "numpy"),
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (Payload(), r"\w+\.mkdir"),
        (nn.Identity(), "torch.nn.modules.linear.Identity"),
    ]:
        torch.save({**good, "extra": value}, tmp_path / "bad.ckpt")
        with pytest.raises(DataError, match=rf"bad\.ckpt .*it holds an object {name}"):
            read_checkpoint(tmp_path / "bad.ckpt")
    assert os.listdir() == ["bad.ckpt"]
