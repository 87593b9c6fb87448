"""Read files of weights without running code from them; an error is one line."""

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from pcfrl_lightning.errors import DataError, one_line, require

T = TypeVar("T")
_MOST_VALUES = 100_000  # that a file may nest: a list that holds another twice, 40 times over, is small on disk
_GROWTH = 2  # bytes of weights in memory per byte of a file: shared ones are there once, half precision is widened
_SHOWN = 3  # missing, unexpected and wrongly shaped keys, of each kind, that an error names


def load_plain(path: str | Path) -> Any:
    """Content of a ``torch.save`` file of tensors and primitives, on the CPU; no code of the file is run.

    DataError if the file is damaged or holds something else; the message names that object, but not the file.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_unpacked(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        _check_nesting(content)
        return content
    except DataError:
        raise
    except Exception as error:  # a foreign file can fail anywhere in the unpickler, with IndexError for instance
        text = " ".join(str(error).split())
        if refused := re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported (?:class|type) ([\w.]+)", text):
            raise DataError(
                f"it holds an object {refused[1] or refused[2]} beside tensors and numbers, which is not loaded"
            ) from error
        raise DataError(f"{type(error).__name__}: {text.split('. ')[0]}"[:240]) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint dictionary onto the CPU without running any code from it.

    FileNotFoundError if there is none; DataError if it is damaged or holds more than tensors and primitives.
    """
    path = Path(path)
    require(not path.is_dir(), f"checkpoint {path} is a folder; give a .ckpt file in it", FileNotFoundError)
    advice = "give the path of a .ckpt file that `pcfrl fit` wrote"
    require(path.is_file(), f"checkpoint {path} does not exist; {advice}", FileNotFoundError)
    try:
        checkpoint = load_plain(path)
    except DataError as error:
        raise DataError(
            f"checkpoint {path} is damaged or is not a plain PyTorch checkpoint ({error}); give a .ckpt file that "
            "`pcfrl fit` or `pcfrl import-pcl` wrote"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise DataError(
            f"checkpoint {path} has no 'state_dict'; convert a public PCL file with `pcfrl import-pcl` first"
        )
    state, settings = checkpoint["state_dict"], checkpoint.setdefault("hyper_parameters", {})
    damaged = f"checkpoint {path} is damaged: its"
    of_tensors = _is_named(state) and all(isinstance(value, Tensor) for value in state.values())
    require(of_tensors, f"{damaged} 'state_dict' is not a dictionary of named tensors", DataError)
    require(_is_named(settings), f"{damaged} 'hyper_parameters' is not a dictionary of named settings", DataError)
    try:
        check_memory(state, path)
    except ValueError as error:
        raise DataError(f"checkpoint {path}: {error}") from None
    return checkpoint


def latest(paths: Iterable[Path]) -> Path:
    """The checkpoint of the latest step; of several with the same step one that is called ``last`` goes first.

    Times of files say nothing about that: clocks jump, and copies are new. A name that tells the step is believed;
    other files are read where there is a choice, with the errors of `read_checkpoint`.
    """
    files = sorted(paths)

    def step(path: Path) -> int:
        if told := re.search(r"step=(\d+)", path.stem):
            return int(told[1])
        found = read_checkpoint(path).get("global_step")
        return found if isinstance(found, int) else -1

    return files[0] if len(files) == 1 else max(files, key=lambda path: (step(path), path.stem.startswith("last")))


def check_memory(state: Mapping[str, Tensor], path: Path) -> None:
    """ValueError if weights take much more than their file: an expanded tensor is large, but takes no room in it."""
    needed = sum(value.numel() * value.element_size() for value in state.values())
    fits = needed <= _GROWTH * path.stat().st_size
    require(fits, f"its weights would take {needed / 1e6:.0f} MB, more than the file has")


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _check_unpacked(path: str | Path) -> None:
    """`torch.save` does not compress, but `torch.load` unpacks what is compressed, or stored once under many names."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
    fits = unpacked <= Path(path).stat().st_size
    require(fits, f"it would unpack to {unpacked / 1e6:.0f} MB, more than the file has", DataError)


def _check_nesting(content: Any) -> None:
    """Refuse what a walk through it would not come to an end of: containers in themselves, or many times in others."""
    seen, left = 0, [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            left.extend(value)
        seen += 1
        if seen + len(left) > _MOST_VALUES:
            raise DataError(f"it nests more than {_MOST_VALUES} values in each other")


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """State dict of a ``.safetensors`` or ``torch.save`` file, on the CPU; names without wrappers.

    FileNotFoundError if there is none; DataError if it is damaged or no state dict.
    """
    path = Path(path)
    require(path.is_file(), f"file of weights {path} does not exist", FileNotFoundError)
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else load_plain(path)
    except Exception as error:
        raise DataError(f"{path} is not a file of plain tensors, or is damaged ({one_line(error)})") from error
    for key in ("state_dict", "model", "teacher"):  # what training scripts put it under
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a state dict, a dictionary of named tensors, found {type(content).__name__}")
    return strip_wrappers({k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)})


def strip_wrappers(state: Mapping[str, T]) -> dict[str, T]:
    """Names without what DistributedDataParallel (``module.``) and torch.compile (``_orig_mod.``) add to them."""
    bare = {re.sub(r"(^|(?<=\.))_orig_mod\.", "", key): value for key, value in state.items()}
    return {re.sub(r"^(module\.)+", "", key): value for key, value in bare.items()}


def check_weights(expected: Mapping[str, torch.Size], state: Mapping[str, Tensor]) -> None:
    """Compare names and shapes; ValueError with the first that are missing, unexpected or wrongly shaped."""
    missing = [f"missing {key}" for key in expected if key not in state]
    foreign = [f"unexpected {key}" for key in state if key not in expected]
    misshapen = [
        f"{key} has shape {tuple(state[key].shape)}, not {tuple(shape)}"
        for key, shape in expected.items()
        if key in state and state[key].shape != shape
    ]
    if missing or foreign or misshapen:
        shown = [problem for kind in (missing, foreign, misshapen) for problem in kind[:_SHOWN]]
        rest = len(missing) + len(foreign) + len(misshapen) - len(shown)
        raise ValueError("; ".join(shown) + (f"; and {rest} more" if rest else ""))
