"""The Hugging Face hub, played by a local folder: no network is used."""

import shutil
import sys
from types import SimpleNamespace

import pytest

from pcfrl_lightning import load_encoder
from pcfrl_lightning.networks import encoder_identity, hub
from tiny import tiny_model


@pytest.fixture
def local_hub(tmp_path, monkeypatch):
    """Two functions of ``huggingface_hub`` with the signatures that are used, on a folder."""
    calls = []

    def folder(repository):
        if repository.count("/") != 1:
            raise ValueError("Repo id must be in the form 'repo_name' or 'namespace/repo_name'")
        return tmp_path / "hub" / repository

    def create_repo(repo_id, *, private, exist_ok):
        folder(repo_id).mkdir(parents=True, exist_ok=exist_ok)
        calls.append(("create", repo_id, private))
        return f"https://hub.example/{repo_id}"

    def upload_folder(*, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, folder(repo_id), dirs_exist_ok=True)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        calls.append(("download", repo_id, revision, allow_patterns))
        if not folder(repo_id).is_dir():
            raise RuntimeError("404 Client Error.\n Repository Not Found")
        return str(folder(repo_id))

    functions = {each.__name__: each for each in (create_repo, upload_folder, snapshot_download)}
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(**functions))
    return calls


def test_what_was_pushed_is_loaded_again(local_hub, tmp_path):
    network = tiny_model().network
    address = hub.push(network.save(tmp_path / "exported"), "hf:someone/faces")
    assert address == "https://hub.example/someone/faces"
    encoder = load_encoder("hf:someone/faces@v2")
    assert encoder_identity(encoder) == encoder_identity(network)
    files = ["config.json", "model.safetensors", "README.md"]
    assert local_hub == [("create", "someone/faces", True), ("download", "someone/faces", "v2", files)]


def test_the_functions_have_these_arguments():
    """The real client accepts the calls of the one above."""
    from inspect import signature

    huggingface_hub = pytest.importorskip("huggingface_hub")
    signature(huggingface_hub.create_repo).bind("a/b", private=True, exist_ok=True)
    signature(huggingface_hub.upload_folder).bind(repo_id="a/b", folder_path=".", commit_message="")
    signature(huggingface_hub.snapshot_download).bind("a/b", revision=None, allow_patterns=[])


def test_mistakes_end_in_one_line(local_hub, tmp_path):
    with pytest.raises(ValueError, match=r"hf:someone/absent could not be downloaded \(404 .*; check") as error:
        load_encoder("hf:someone/absent")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"could not be uploaded to a/b/c .*hf auth login"):
        hub.push(tmp_path, "a/b/c")


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install pcfrl-lightning\[hub\]"):
        load_encoder("hf:someone/faces")


def test_a_configuration_from_the_hub_runs_nothing(local_hub, tmp_path):
    folder = tmp_path / "hub/someone/evil"
    tiny_model().network.save(folder)
    (folder / "config.json").write_text('{"class": "os.system", "init_args": {"command": "touch harmed"}}')
    with pytest.raises(ValueError, match=r"os\.system"):
        load_encoder("hf:someone/evil")
    assert not (tmp_path / "harmed").exists()
