"""The optional parts of the package: ``pip install 'pcfrl-lightning[NAME]'``."""

EXTRAS = {
    "timm": "encoders and backbones of timm: timm:NAME",
    "tensorboard": "logs for TensorBoard: --config pcfrl:logger/tensorboard",
    "video": "videos as input of embed and of data prepare-voxceleb",
    "export": "ONNX: export --format onnx",
    "parquet": "tables in parquet: embed --format parquet, labels in .parquet",
    "hub": "encoders of the Hugging Face hub: hf:OWNER/NAME, export --push",
    "sweep": "sweeps that choose their next point: TPE of optuna",
    "completion": "completion of commands, keys and configs in the shell",
    "all": "all of the above",
    "docs": "building the pages of docs/",
    "notebooks": "running the notebooks",
    "dev": "tests, linters and types: everything that make test needs",
}
"""What each extra of pyproject.toml gives."""

OPTIONAL = tuple(EXTRAS)[: tuple(EXTRAS).index("all")]
"""Extras that a user chooses among; the others are sums of them, or for work on the package itself."""
