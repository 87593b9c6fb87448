"""Rendered faces as an image source, kept in a cache file once they have been rendered."""

import hashlib
import logging
import multiprocessing
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch.utils.data import DataLoader

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ImageSource, digest
from pcfrl_lightning.data.loaders import start_worker
from pcfrl_lightning.data.quality.unreadable import cache_folder
from pcfrl_lightning.files import replacing
from pcfrl_lightning.synthetic.parameters import FaceParameters
from pcfrl_lightning.synthetic.render import render

log = logging.getLogger(__name__)

_CHUNK = 64  # pictures per task of a rendering process; fewer in all are rendered in this process


class SyntheticSource(ImageSource):
    """Pictures of a side of 32 to 256 pixels, given by their parameters.

    `read` renders; after `materialize` it looks up the rendered picture instead. Both give the same pixels. With
    `whole_person`, `draw` takes a random picture of the person of the item.
    """

    always_readable = True

    def __init__(self, faces: Sequence[FaceParameters], size: int, whole_person: bool = False) -> None:
        self.faces, self.size, self.whole_person = list(faces), size, whole_person
        self.varied = whole_person
        self._pictures: dict[int, list[int]] = {}
        for index, face in enumerate(self.faces):
            self._pictures.setdefault(face.identity_id, []).append(index)
        self._fingerprint = ""
        self._rendered: Path | None = None

    def __len__(self) -> int:
        return len(self.faces)

    def name(self, index: int) -> str:
        return f"person{self.faces[index].identity_id:07d}/{index:07d}"

    def read(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._rendered is not None:
            return np.array(_opened(self._rendered)[index])
        return render(self.faces[index], self.size)

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        pictures = self._pictures[self.faces[index].identity_id] if self.whole_person else [index]
        return self.read(pictures[int(rng.integers(len(pictures)))] if len(pictures) > 1 else index)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the renderer's code, the size and the parameters of every picture."""
        if not self._fingerprint:
            code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
            self._fingerprint = digest([hashlib.sha256(code).hexdigest(), str(self.size), *map(repr, self.faces)])
        return self._fingerprint

    def materialize(self, processes: int = 1) -> None:
        """Render all pictures into the cache folder, or open them where that has been done.

        A folder that cannot be written to gives a warning; pictures are then rendered whenever they are read.
        """
        path = cache_folder() / "synthetic" / f"{self.fingerprint()[:32]}.npy"
        try:
            if not path.is_file():
                self._write(path, processes)
            self._rendered = path
        except OSError as error:
            log.warning("cannot keep rendered faces in %s (%s); they are rendered when read", path, error)

    def _write(self, path: Path, processes: int) -> None:
        alone = processes == 1 or len(self) <= _CHUNK or multiprocessing.current_process().daemon
        # of the forked processes of a loader none runs the user's script again, as those of a spawned pool do
        loader: DataLoader[Any] = DataLoader(
            FaceSet(SyntheticSource(self.faces, self.size)),  # renders, whatever this one has found
            _CHUNK,
            num_workers=0 if alone else processes,
            worker_init_fn=start_worker,
            generator=torch.Generator(),  # else it draws from the one that weights are drawn from
        )
        with replacing(path, shared=True) as part:
            file = np.lib.format.open_memmap(part, "w+", np.uint8, (len(self), self.size, self.size, 3))
            for number, images in enumerate(track(loader, "rendering faces", transient=True)):
                file[number * _CHUNK :][: len(images)] = images.numpy()
            file.flush()


@lru_cache(maxsize=8)
def _opened(path: Path) -> np.ndarray:
    """A cache file in this process; a source that travels to another one takes the path along."""
    return np.load(path, mmap_mode="r")
