"""Whether an installation works: versions, devices, codecs, disk, and a training step.

Nothing heavy is imported before a check needs it, so that a broken library is one failed check among others.
"""

import io
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pcfrl_lightning.errors import one_line

PACKAGE = "pcfrl-lightning"
SHOWN_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PCFRL_CACHE", "WANDB_MODE", "HF_HUB_OFFLINE")
"""Variables that explain much; those with a path are only said to be set."""
LOW_DISK, LOW_SHARED = 2e9, 1e8  # bytes; below that a run soon fails

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


class Finding(NamedTuple):
    """The outcome of one check."""

    name: str
    text: str
    ok: bool = True


def examine() -> dict[str, list[Finding]]:
    """All checks by group, in the order in which a reader wants them; none raises."""
    groups: dict[str, Callable[[], Iterable[Finding]]] = {
        "system": _system,
        "packages": _packages,
        "extras": _extras,
        "devices": _devices,
        "codecs": _codecs,
        "disk": _disk,
        "training step": _steps,
    }
    return {name: list(_guarded(check)) for name, check in groups.items()}


def _guarded(check: Callable[[], Iterable[Finding]]) -> Iterable[Finding]:
    try:
        yield from check()
    except Exception as error:  # whatever a broken library raises
        yield Finding("failed", _reason(error), ok=False)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _system() -> Iterable[Finding]:
    yield Finding("python", f"{platform.python_version()} ({platform.python_implementation()})")
    yield Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    for name in SHOWN_VARIABLES:
        if value := os.environ.get(name):
            yield Finding(name, "is set" if os.sep in value else value)


def _packages() -> Iterable[Finding]:
    """The package, and everything that it needs, against the versions that it asks for."""
    yield Finding(PACKAGE, metadata.version(PACKAGE))
    for requirement in _requirements(""):
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            advice = f"is not installed: pip install '{requirement.name}{requirement.specifier}'"
            yield Finding(requirement.name, advice, ok=False)
            continue
        ok = requirement.specifier.contains(found, prereleases=True)
        wanted = "" if ok else f", but {requirement.specifier} is needed: pip install '{requirement}'"
        yield Finding(requirement.name, found + wanted, ok)


def _extras() -> Iterable[Finding]:
    """What is optional; an absent extra is no failure."""
    for extra in OPTIONAL:
        present, absent = [], []
        for requirement in _requirements(extra):
            try:
                present.append(f"{requirement.name} {metadata.version(requirement.name)}")
            except metadata.PackageNotFoundError:
                absent.append(requirement.name)
        missing = f"no {', '.join(absent)}; gives {EXTRAS[extra]}"
        yield Finding(extra, missing if absent else ", ".join(present))


def _requirements(extra: str) -> list[Any]:
    """Requirements of the installed package that hold here: without an extra, or those that ``extra`` adds."""
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    plain = [each for each in every if not each.marker or each.marker.evaluate({"extra": ""})]
    if not extra:
        return plain
    return [each for each in every if each.marker and each.marker.evaluate({"extra": extra}) and each not in plain]


def _devices() -> Iterable[Finding]:
    import torch

    from pcfrl_lightning.probes.results import hardware

    here = hardware()
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("cpu", f"{here['cpu']}, {here['cores']} cores, {here['threads']} threads, {capability}")
    if not torch.version.cuda:
        yield Finding("cuda", "this PyTorch is built without CUDA")
    elif not torch.cuda.is_available():
        yield Finding("cuda", f"no GPU that PyTorch can use (built for CUDA {torch.version.cuda})")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        kind = f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, compute capability {facts.major}.{facts.minor}"
        yield Finding(f"cuda:{index}", f"{kind}, CUDA {torch.version.cuda}")


def _codecs() -> Iterable[Finding]:
    """A picture and a video are written and read again."""
    import numpy as np
    from PIL import Image

    from pcfrl_lightning.data.images.decode import decode

    ramp = np.broadcast_to(np.linspace(40, 200, 32, dtype=np.uint8)[:, None, None], (32, 32, 3))
    for kind in ("JPEG", "PNG", "WEBP"):
        try:
            buffer = io.BytesIO()
            Image.fromarray(ramp).save(buffer, kind)
            off = int(np.abs(decode(buffer.getvalue(), kind).astype(int) - ramp).max())
            yield Finding(kind.lower(), "read" if off < 16 else f"read wrongly, off by {off}", off < 16)
        except Exception as error:
            yield Finding(kind.lower(), _reason(error), ok=False)
    with tempfile.TemporaryDirectory() as folder:
        yield from _videos(Path(folder) / "a.avi", np.ascontiguousarray(ramp))


def _videos(path: Path, picture: Any) -> Iterable[Finding]:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    for _ in range(3):
        writer.write(picture)
    writer.release()
    there, _ = cv2.VideoCapture(str(path)).read()
    yield Finding("video (OpenCV)", "read" if there else "cannot be read", bool(there))
    if find_spec("av") is None:
        yield Finding("video (PyAV)", f"no av; gives {EXTRAS['video']}")
        return
    from pcfrl_lightning.data.prepare.decode import sampled_frames

    count = len(list(sampled_frames(str(path), 25.0)))
    yield Finding("video (PyAV)", "read" if count == 3 else f"{count} of 3 frames are read", count == 3)


def _disk() -> Iterable[Finding]:
    """Free space where runs and caches are written."""
    from pcfrl_lightning.data.quality.unreadable import cache_folder

    cache = cache_folder()
    shown = f"$PCFRL_CACHE{os.sep}" if os.environ.get("PCFRL_CACHE") else _without_home(cache)
    existing = next(each for each in (cache, *cache.absolute().parents) if each.exists())
    writable = os.access(existing, os.W_OK)
    free = shutil.disk_usage(existing).free
    reason = "" if writable else ", but cannot be written: set PCFRL_CACHE to a folder that can"
    yield Finding("cache", f"{shown}, {free / 1e9:.0f} GB free{reason}", writable and free > LOW_DISK)
    free = shutil.disk_usage(".").free
    yield Finding("this folder", f"{free / 1e9:.0f} GB free", free > LOW_DISK)
    if (shared := Path("/dev/shm")).is_dir():  # loader processes hand batches over there; small in containers
        free = shutil.disk_usage(shared).free
        enough, advice = free > LOW_SHARED, ": too little for loader processes, start the container with --shm-size 8g"
        yield Finding("shared memory", f"{free / 1e9:.2g} GB free{'' if enough else advice}", enough)


def _without_home(path: Path) -> str:
    try:
        return f"~{os.sep}{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return path.name


def _steps() -> Iterable[Finding]:
    """Two steps of a small PCFRL on every device; the second one is timed."""
    import torch

    for name in ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]:
        for kind, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
            try:
                seconds, loss = training_step(torch.device(name), dtype)
                text = f"{1000 * seconds:.0f} ms, loss {loss:.3f}"
                yield Finding(f"{name} {kind}", text, math.isfinite(loss))
            except Exception as error:
                yield Finding(f"{name} {kind}", _reason(error), ok=False)


def training_step(device: Any, dtype: Any) -> tuple[float, float]:
    """Wall-clock seconds and loss of the second step on four rendered faces of 32 px, network of width 1/16."""
    import torch

    from pcfrl_lightning.bench.step import rendered_faces
    from pcfrl_lightning.data.views.cpu import AlbumentationsViews
    from pcfrl_lightning.methods.pcfrl import PCFRL
    from pcfrl_lightning.networks import FaceBackbone

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        model = PCFRL(FaceBackbone(1 / 16), image_size=32, projection_dim=16).to(device)
        views = AlbumentationsViews(image_size=32)
        batch = views.make(rendered_faces(4, 32), [(0, index) for index in range(4)], device=device)
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(2):
            begun = time.perf_counter()
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = model.losses(batch)[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            value = loss.item()  # waits for the device
        return time.perf_counter() - begun, value
