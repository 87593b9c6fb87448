"""Where images come from: files, zip archives, arrays.  Nothing is decoded until it is asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from os.path import splitext
from pathlib import Path, PurePosixPath

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage as CorruptImage
from pcfrl_lightning.data.images.decode import decode
from pcfrl_lightning.errors import DataError

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".webp", ".gif",
)  # fmt: skip


class ImageSource(ABC):
    """A numbered collection of images.  Subclasses must be picklable and safe to use after a fork."""

    always_readable = False
    """True where `read` cannot fail (images in memory or rendered), so that nothing needs to be verified."""
    reads_at_once = 1
    """How many images of a batch are best read at the same time, in threads: many where a read waits for a network."""

    varied = False
    """True where an item stands for several images (a video), so that `draw` gives another one each time."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of an image, unique in the source, with forward slashes."""

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """The image as (H, W, 3) uint8 RGB; raises CorruptImage where it is empty, truncated or not decodable."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 (hex) over names and sizes: changes when the collection does."""

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """Like `read`; of a source that is `varied`, one of the images of the item at random."""
        return self.read(index)


class FileSource(ImageSource):
    """Image files under a folder, by their paths relative to it."""

    def __init__(self, root: str | Path, relative_paths: Sequence[str | Path]) -> None:
        self.root = Path(root)
        self.paths = [PurePosixPath(path).as_posix() for path in relative_paths]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    def read(self, index: int) -> np.ndarray:
        return read_image(self.root, self.paths[index])

    def fingerprint(self) -> str:
        return digest(f"{path}\t{file_version(self.root / path)}" for path in self.paths)


class ArraySource(ImageSource):
    """Images held in memory: (n, H, W, 3) RGB or (n, H, W) grey, uint8; default names `0`, `1`, ...

    Raises:
        DataError: another type or shape, or not one name per image.
    """

    always_readable = True

    def __init__(self, array: np.ndarray, names: Sequence[str] | None = None) -> None:
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
            raise DataError(f"images must be uint8 (n, H, W) or (n, H, W, 3), got {array.dtype} {array.shape}")
        if names is not None and len(names) != len(array):
            raise DataError(f"{len(array)} images need as many names, got {len(names)}")
        self.array, self.names = array, names

    def __len__(self) -> int:
        return len(self.array)

    def name(self, index: int) -> str:
        return str(index) if self.names is None else self.names[index]

    def read(self, index: int) -> np.ndarray:
        image = self.array[index]
        return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image

    def fingerprint(self) -> str:
        names = digest(self.name(i) for i in range(len(self)))
        pixels = hashlib.sha256(np.ascontiguousarray(self.array).data).hexdigest()
        return digest([names, str(self.array.shape), pixels])


class WrappedSource(ImageSource):
    """Images made one by one of those of another `source`."""

    source: ImageSource

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def fingerprint(self) -> str:
        return self.source.fingerprint()


class _Redirected(ImageSource):
    """Images of other sources; `_locate` gives source and index there of an image."""

    @abstractmethod
    def _locate(self, index: int) -> tuple[ImageSource, int]: ...

    def name(self, index: int) -> str:
        source, there = self._locate(index)
        return source.name(there)

    def read(self, index: int) -> np.ndarray:
        source, there = self._locate(index)
        return source.read(there)

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        source, there = self._locate(index)
        return source.draw(there, rng)


class ConcatSource(_Redirected):
    """Several sources, one after the other."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self.sources = list(sources)
        self._ends = np.cumsum([0, *map(len, self.sources)])
        self.always_readable = all(source.always_readable for source in self.sources)
        self.varied = any(source.varied for source in self.sources)
        self.reads_at_once = max((source.reads_at_once for source in self.sources), default=1)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def fingerprint(self) -> str:
        return digest(source.fingerprint() for source in self.sources)

    def _locate(self, index: int) -> tuple[ImageSource, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = int(np.searchsorted(self._ends, index, side="right")) - 1
        return self.sources[part], index - int(self._ends[part])


class SubsetSource(_Redirected):
    """Some images of a source, in the order of `indices`."""

    def __init__(self, source: ImageSource, indices: Iterable[int]) -> None:
        self.source = source
        self.indices = np.fromiter(indices, dtype=np.int64)
        self.always_readable, self.reads_at_once = source.always_readable, source.reads_at_once
        self.varied = source.varied

    def __len__(self) -> int:
        return len(self.indices)

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), hashlib.sha256(self.indices.tobytes()).hexdigest()])

    def _locate(self, index: int) -> tuple[ImageSource, int]:
        return self.source, int(self.indices[index])


def read_image(root: Path, name: str) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB.  Raises CorruptImage, also where it is absent."""
    try:
        data = (root / name).read_bytes()
    except OSError as error:
        raise CorruptImage(name, error.strerror or type(error).__name__) from None
    return decode(data, name)


def read_or_error(source: ImageSource, index: int) -> np.ndarray | CorruptImage:
    """An image of a source, or the error where it cannot be read."""
    try:
        return source.read(index)
    except CorruptImage as error:
        return error


def digest(lines: Iterable[str]) -> str:
    """SHA-256 (hex) of lines of text."""
    result = hashlib.sha256()
    for line in lines:
        result.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return result.hexdigest()


def is_hidden(name: str) -> bool:
    """Whether a path is that of a hidden file or of a resource fork of a macOS archive."""
    return any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in name.split("/"))


def is_image_name(name: str) -> bool:
    """Whether a path looks like an image file that is not hidden."""
    return splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_hidden(name)


def inside(relative: str, where: str, root: str | Path = "its root") -> str:
    """A path that was read from a list or an archive, with forward slashes, as it is spelled everywhere.

    A DataError tells of a path that is absolute, empty, or leads out of the root.
    """
    path = PurePosixPath(relative.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or relative[1:2] == ":":
        raise DataError(f"{where}: '{relative}' must be a path relative to {root} that stays inside it")
    return path.as_posix()


def file_version(path: Path) -> str:
    """Size and time of the last change, which stand for the content: many images are too much to read for that."""
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"
