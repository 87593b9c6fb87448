"""Rendered faces as an image source, kept in a cache file once they have been rendered."""

import hashlib
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning import synthetic
from pcfrl_lightning.data.images.sources import ImageSource, digest
from pcfrl_lightning.data.quality.unreadable import cache_folder
from pcfrl_lightning.synthetic.parameters import FaceParameters

log = logging.getLogger(__name__)

_CHUNK = 64  # pictures per task of a rendering process; fewer in all are rendered in this process


class SyntheticSource(ImageSource):
    """Pictures given by their parameters.

    `read` renders; after `materialize` it looks up the rendered picture instead. Both give the same pixels.

    Args:
        faces: parameters of each picture.
        size: side in pixels, 32 to 256.
    """

    always_readable = True

    def __init__(self, faces: Sequence[FaceParameters], size: int) -> None:
        self.faces = list(faces)
        self.size = size
        self._fingerprint: str | None = None
        self._rendered: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.faces)

    def name(self, index: int) -> str:
        """Person and number of a picture."""
        face = self.faces[index]
        return f"person{face.identity_id:07d}/{index:07d}"

    def read(self, index: int) -> np.ndarray:
        """Picture `index` as (size, size, 3) uint8 RGB."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._rendered is not None:
            return np.array(self._rendered[index])
        return _render(self.faces[index], self.size)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the renderer's code, the size and the parameters of every picture."""
        if self._fingerprint is None:
            parameters = (repr(face) for face in self.faces)
            self._fingerprint = digest([renderer_version(), str(self.size), *parameters])
        return self._fingerprint

    def materialize(self, processes: int = 1) -> None:
        """Render all pictures into the cache folder, or open them where that has been done.

        A folder that cannot be written to costs a warning; pictures are then rendered whenever they are read.

        Args:
            processes: how many processes render.
        """
        if self._rendered is not None:
            return
        path = cache_folder() / "synthetic" / f"{self.fingerprint()[:32]}.npy"
        if not path.is_file():
            try:
                self._write(path, processes)
            except OSError as error:
                log.warning("cannot keep rendered faces in %s (%s); they are rendered when read", path, error)
                return
        self._rendered = np.load(path, mmap_mode="r")

    def _write(self, path: Path, processes: int) -> None:
        """Fill a temporary file and move it into place, so that no one ever sees half a cache."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".partial", dir=path.parent)
        os.close(handle)
        try:
            shape = (len(self), self.size, self.size, 3)
            file = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            with _renderings(self.faces, self.size, processes) as images:
                for index, image in enumerate(images):
                    file[index] = image
            file.flush()
            del file
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is not forked opens the cache file itself."""
        state = dict(self.__dict__)
        state["_rendered"] = None if self._rendered is None else getattr(self._rendered, "filename", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._rendered is not None:
            self._rendered = np.load(str(self._rendered), mmap_mode="r")


@cache
def renderer_version() -> str:
    """SHA-256 (hex) of the renderer's code: another renderer gives other pictures."""
    folder = Path(synthetic.__path__[0])
    total = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()


def _render(face: FaceParameters, size: int) -> np.ndarray:
    from pcfrl_lightning.synthetic.render import render

    return render(face, size)


@contextmanager
def _renderings(faces: list[FaceParameters], size: int, processes: int) -> Iterator[Iterator[np.ndarray]]:
    """The pictures in order, with a progress bar."""
    from rich.progress import track

    draw = partial(_render, size=size)
    describe = partial(track, total=len(faces), description="rendering faces", transient=True)
    if processes == 1 or len(faces) <= _CHUNK or multiprocessing.current_process().daemon:
        yield iter(describe(map(draw, faces)))
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield iter(describe(pool.imap(draw, faces, chunksize=_CHUNK)))
