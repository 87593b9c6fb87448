"""Rendered faces as an image source, kept in a cache file once they have been rendered."""

import hashlib
import logging
import multiprocessing
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from rich.progress import track

from pcfrl_lightning.data.images.sources import ImageSource, digest
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
        draw, total = partial(render, size=self.size), len(self)
        alone = processes == 1 or total <= _CHUNK or multiprocessing.current_process().daemon
        with replacing(path, shared=True) as part, ExitStack() as stack:
            file = np.lib.format.open_memmap(part, "w+", np.uint8, (total, self.size, self.size, 3))
            images: Iterable[np.ndarray] = map(draw, self.faces)
            if not alone:
                pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(processes))
                images = pool.imap(draw, self.faces, chunksize=_CHUNK)
            for index, image in enumerate(track(images, "rendering faces", total, transient=True)):
                file[index] = image
            file.flush()


@lru_cache(maxsize=8)
def _opened(path: Path) -> np.ndarray:
    """A cache file in this process; a source that travels to another one takes the path along."""
    return np.load(path, mmap_mode="r")
