"""Arrays of MATLAB 5 files, with errors that name the file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcfrl_lightning.errors import DataError


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a .mat file; other variables are skipped without being read.

    Raises:
        DataError: the file is absent, damaged, or lacks a key; names the file.
    """
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError(f"{path} is missing")
    try:
        content = loadmat(path, variable_names=list(keys))
    except Exception as error:  # scipy raises a dozen types on damaged files; all mean the same here
        raise DataError(f"{path}: not a readable MATLAB file ({type(error).__name__}: {error})") from None
    absent = [key for key in keys if key not in content]
    if absent:
        raise DataError(f"{path}: has no variable {', '.join(absent)}")
    return {key: np.asarray(content[key]) for key in keys}
