"""Weights that are part of the package."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pcfrl_lightning import load_encoder
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.evaluate.summary import source_name
from pcfrl_lightning.networks import encoder_identity, shipped
from pcfrl_lightning.synthetic.parameters import sample_face
from pcfrl_lightning.synthetic.render import render


@pytest.mark.parametrize("name", shipped.names())
def test_they_load_and_are_small_and_have_a_card(name):
    encoder = load_encoder(f"pretrained:{name}")
    faces = [render(sample_face(0, index, identity_id=index), 64) for index in range(3)]
    found = encoder.embed(faces)
    assert all(np.isfinite(values).all() and (values.std(axis=0) > 0).any() for values in found.values())
    folder = shipped.folder_of(f"pretrained:{name}")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    assert "SyntheticFaces" in card  # the one set whose pictures are this package's own
    assert str(Path.home()) not in card or Path.home() == Path("/")
    assert json.loads((folder / "config.json").read_text())["features"] == ["f_s", "f_f", "f_p"]


def test_the_name_stands_for_its_folder():
    assert encoder_identity("pretrained:synthetic") == encoder_identity(shipped.FOLDER / "synthetic")
    assert source_name("pretrained:synthetic") == "pretrained-synthetic"


def test_an_unknown_name_comes_with_the_nearest_or_all_known_ones():
    with pytest.raises(UsageError, match=r"^pretrained:sythetic: no such weights; did you mean synthetic\?$"):
        load_encoder("pretrained:sythetic")
    for name in ("", "..", "../configs", "synthetic/../synthetic"):
        with pytest.raises(UsageError, match="there are "):
            load_encoder(f"pretrained:{name}")


def test_a_photo_is_embedded_without_any_training(tmp_path, monkeypatch):
    from pcfrl_lightning.cli.embed import main

    monkeypatch.chdir(tmp_path)
    Image.fromarray(render(sample_face(0, 0, identity_id=0), 64)).save("photo.jpg")
    assert main(["pretrained:synthetic", "photo.jpg", "--out", "f.npz"]) == 0
    with np.load("f.npz") as content:
        assert content["f_s"].shape[0] == 1
        expected = load_encoder("pretrained:synthetic").embed("photo.jpg")["f_s"]
        assert np.allclose(content["f_s"], expected, atol=1e-5)
