"""PCFRL and PCL: pose-disentangled contrastive facial representation learning in PyTorch Lightning.

Public names are imported on first use, so that ``import pcfrl_lightning`` stays light.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("pcfrl-lightning")

_EXPORTS = {
    "PCFRL": "pcfrl_lightning.methods.pcfrl",
    "load_encoder": "pcfrl_lightning.networks.encoder",
    "functional": "",
    "networks": "",
    "heads": "",
    "methods": "",
    "data": "",
    "probes": "",
}
__all__ = ["PCFRL", "__version__", "data", "functional", "heads", "load_encoder", "methods", "networks", "probes"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _EXPORTS[name]
    return getattr(import_module(module), name) if module else import_module(f"{__name__}.{name}")
