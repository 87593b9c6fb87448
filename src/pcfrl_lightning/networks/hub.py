"""Exported folders on the Hugging Face hub: ``hf:OWNER/NAME``, or ``hf:OWNER/NAME@REVISION``."""

from importlib import import_module
from pathlib import Path
from typing import Any

from pcfrl_lightning.errors import one_line

PREFIX = "hf:"


def pull(source: str) -> Path:
    """The folder of a repository of the hub, in the cache of ``huggingface_hub``.

    Only configuration, weights and card are downloaded; what is in the cache needs no network
    (``HF_HUB_OFFLINE=1``). Nothing of it is run. ImportError without ``huggingface_hub``; ValueError names what could
    not be downloaded.
    """
    repository, _, revision = source.removeprefix(PREFIX).partition("@")
    hub = _hub()
    try:
        files = ["config.json", "model.safetensors", "README.md"]
        return Path(hub.snapshot_download(repository, revision=revision or None, allow_patterns=files))
    except Exception as error:  # of the network, of the hub and of the name: many types
        raise ValueError(
            f"{source} could not be downloaded ({one_line(error, 120)}); check the name hf:OWNER/NAME and the "
            "connection, or give a folder that `pcfrl export` wrote"
        ) from error


def push(folder: str | Path, source: str, private: bool = True) -> str:
    """Upload an exported folder as ``hf:OWNER/NAME`` (``OWNER/NAME`` will do); returns its address.

    The hub's own login is used (``hf auth login``). A new repository is private unless told otherwise. Errors as of
    `pull`.
    """
    repository, hub = source.removeprefix(PREFIX), _hub()
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=str(folder), commit_message="Upload by pcfrl export")
    except Exception as error:  # see `pull`
        raise ValueError(
            f"{folder} could not be uploaded to {repository} ({one_line(error, 120)}); log in with `hf auth login`"
        ) from error
    return str(address)


def _hub() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError("the hub needs huggingface_hub: pip install pcfrl-lightning[hub]") from error
