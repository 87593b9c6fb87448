"""Images of an official release, in a folder or in zip archives, looked up by name."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pcfrl_lightning.data.rows import Row
from pcfrl_lightning.data.sources import FileSource, ImageSource, SubsetSource, is_image_name
from pcfrl_lightning.data.zips import ZipSource
from pcfrl_lightning.errors import DataError

_SHOWN = 3


class MissingImages(DataError):
    """A list names images that the release on disk does not have.

    Args:
        message: says which list and line.
        names: all missing names.
    """

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = list(names)


class ReleaseImages(ABC):
    """Images with names relative to the image folder of the release, such as `A_B/A_B_0001.jpg`."""

    @abstractmethod
    def __contains__(self, name: object) -> bool:
        """Whether the release has this image."""

    @abstractmethod
    def names(self) -> list[str]:
        """All image names, sorted."""

    @abstractmethod
    def source(self, names: Sequence[str]) -> ImageSource:
        """The named images in this order."""


class FolderImages(ReleaseImages):
    """Images below a folder; directories are listed when they are first asked about.

    Args:
        folder: the image folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, set[str]] = {}

    def __contains__(self, name: object) -> bool:
        parent, _, file = str(name).rpartition("/")
        if parent not in self._listed:
            directory = self.folder / parent
            self._listed[parent] = {entry.name for entry in directory.iterdir()} if directory.is_dir() else set()
        return file in self._listed[parent]

    def names(self) -> list[str]:
        paths = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return sorted(path for path in paths if is_image_name(path))

    def source(self, names: Sequence[str]) -> ImageSource:
        return FileSource(self.folder, names)


class ZipImages(ReleaseImages):
    """Images in zip archives, read without extracting.

    Args:
        archives: the files.
        wrappers: names of a leading folder that is not part of the image names, such as `lfw`.

    Raises:
        DataError: the same image stands in two archives.
    """

    def __init__(self, archives: Sequence[Path], wrappers: Sequence[str] = ()) -> None:
        self._zip = ZipSource(archives)
        self._rows: dict[str, int] = {}
        for row in range(len(self._zip)):
            parts = PurePosixPath(self._zip.name(row)).parts
            name = "/".join(parts[1:] if len(parts) > 1 and parts[0] in wrappers else parts)
            if name in self._rows:
                raise DataError(f"{name} stands twice in {', '.join(map(str, archives))}; name one release only")
            self._rows[name] = row

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def names(self) -> list[str]:
        return sorted(self._rows)

    def source(self, names: Sequence[str]) -> ImageSource:
        return SubsetSource(self._zip, [self._rows[name] for name in names])


def open_images(
    root: Path, folders: Sequence[str], archives: Sequence[str] = (), wrappers: Sequence[str] | None = None
) -> ReleaseImages:
    """The first image folder that exists, else the archives of the first pattern that matches any.

    Args:
        root: of the data set.
        folders: candidates relative to the root.
        archives: file patterns of zip archives relative to the root, such as `lfw_a_*.zip`.
        wrappers: see `ZipImages`; default: the names of the folders.

    Raises:
        FileNotFoundError: nothing found; the message lists the candidates.
    """
    for folder in folders:
        if (root / folder).is_dir():
            return FolderImages(root / folder)
    for pattern in archives:
        found = sorted(root.glob(pattern))
        if found:
            return ZipImages(found, [PurePosixPath(name).name for name in (folders if wrappers is None else wrappers)])
    raise FileNotFoundError(f"no images under {root}; looked for {', '.join([*folders, *archives])}")


def require_images(images: ReleaseImages, wanted: Iterable[tuple[Row, str]]) -> None:
    """Check that every image a list names exists.

    Args:
        images: the release.
        wanted: list line and image name.

    Raises:
        MissingImages: names file and line of the first missing image and their number.
    """
    missing = [(row, name) for row, name in wanted if name not in images]
    if missing:
        row, name = missing[0]
        names = sorted({name for _, name in missing})
        raise MissingImages(f"{row.path}:{row.number}: image {name} is missing ({len(names)} in all)", names)


def require_companions(folder: Path, names: Sequence[str], what: str) -> None:
    """Check that the label files of the images exist, all of them before any is read.

    Args:
        folder: that holds them.
        names: expected files, relative to the folder.
        what: they are, in the plural, such as `.mat files`.

    Raises:
        DataError: names the folder, the number of missing files and the first few.
    """
    files = FolderImages(folder)
    missing = [name for name in names if name not in files]
    if missing:
        first = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise DataError(f"{folder}: {len(missing)} of {len(names)} {what} are missing ({first}); copy them again")
