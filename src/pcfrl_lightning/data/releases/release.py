"""Files of an official release: where they lie, images by name in a folder or in zip archives, and what is missing."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

from pcfrl_lightning.data.images.listing import FolderImages
from pcfrl_lightning.data.images.rows import Row
from pcfrl_lightning.data.images.sources import ConcatSource, FileSource, ImageSource, SubsetSource
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.errors import DataError

_SHOWN = 3


class MissingFiles(DataError):
    """Files that a release should have are not on disk; `names` holds all of them."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = list(names)


class MissingImages(MissingFiles):
    """A list or a label file names images that the release on disk does not have."""


class MissingLabels(MissingFiles):
    """Images of the release have no label file."""


_COLLECTED: ContextVar[list[MissingFiles] | None] = ContextVar("missing files", default=None)


@contextmanager
def missing_collected() -> Iterator[list[MissingFiles]]:
    """Inside, missing files are appended to the list that this yields instead of being raised: one run finds all.

    The sets of a `build` inside keep the rows of missing images that a list names; an image without label file, or a
    label file without image, has no row.
    """
    collected: list[MissingFiles] = []
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)


def inside(root: Path, relative: str) -> Path | None:
    """A path of a release, or None where it does not exist.

    Each folder may have been unpacked into a folder of its own name, as copies on Kaggle have it (`lfw/lfw/...`).
    """
    for path in (root, root / root.name):
        for part in PurePosixPath(relative).parts:
            path /= part
            if (path / part).is_dir():
                path /= part
        if path.exists():
            return path
    return None


def find(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of `candidates` (relative to root, see `inside`) that exists; a FileNotFoundError lists them."""
    for candidate in candidates:
        if found := inside(root, candidate):
            return found
    raise FileNotFoundError(f"{what} not found under {root}; looked for {', '.join(candidates)}")


class ZipImages:
    """Images in zip archives, read without extracting.

    Leading folders named in `wrappers`, such as `lfw`, are not part of the image names.  Raises a DataError where the
    same image stands in two archives.
    """

    def __init__(self, archives: Sequence[Path], wrappers: Sequence[str] = ()) -> None:
        self.archives = archives
        self._zip = ZipSource(archives)
        self._rows: dict[str, int] = {}
        for row in range(len(self._zip)):
            parts = PurePosixPath(self._zip.name(row)).parts
            while len(parts) > 1 and parts[0] in wrappers:
                parts = parts[1:]
            if self._rows.setdefault(name := "/".join(parts), row) != row:
                raise DataError(f"{name} stands twice in {self}; name one release only")

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __str__(self) -> str:
        return ", ".join(map(str, self.archives))

    def source(self, names: Sequence[str]) -> ImageSource:
        """The named images in this order."""
        absent = [name for name in names if name not in self._rows]
        # not empty only inside `missing_collected`: files that do not exist stand for the missing images
        rows = {**self._rows, **{name: row for row, name in enumerate(absent, start=len(self._zip))}}
        everything = ConcatSource([self._zip, FileSource(self.archives[0].parent, absent)]) if absent else self._zip
        return SubsetSource(everything, [rows[name] for name in names])


ReleaseImages = FolderImages | ZipImages


def open_images(
    root: Path, folders: Sequence[str], archives: Sequence[str] | None = None, wrappers: Sequence[str] | None = None
) -> ReleaseImages:
    """The first of `folders` that exists (see `inside`), else the archives of the first pattern that matches any.

    Default patterns: a zip of the name of each folder; default wrappers: the names of the folders.  A
    FileNotFoundError lists the candidates.
    """
    for folder in folders:
        if (path := inside(root, folder)) and path.is_dir():
            return FolderImages(path)
    patterns = [f"{folder}.zip" for folder in folders] if archives is None else archives
    for pattern in patterns:
        if found := sorted(root.glob(pattern)) or sorted((root / root.name).glob(pattern)):
            return ZipImages(found, [PurePosixPath(name).name for name in (folders if wrappers is None else wrappers)])
    raise FileNotFoundError(f"no images under {root}; looked for {', '.join(dict.fromkeys([*folders, *patterns]))}")


def files_of(root: Path, folders: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """Files of some folders (see `inside`), relative to the root, sorted in each folder; hidden ones are left out."""
    places = filter(None, (inside(root, folder) for folder in folders))
    paths = [path for place in places for path in sorted(place.glob("[!.]*")) if path.suffix.lower() in suffixes]
    return [path.relative_to(root).as_posix() for path in paths]


def require_images(images: ReleaseImages, wanted: Iterable[tuple[Row | Path, str]]) -> None:
    """Check that every image exists that a list line or a label file stands for.

    MissingImages names the first with its line or label file, how many there are and where they were looked for.
    """
    missing = [(where, name) for where, name in wanted if name not in images]
    if missing:
        where, name = missing[0]
        names = sorted({name for _, name in missing})
        problem = f"{where}: image {name} is missing ({len(names)} in all); copy the images again (looked in {images})"
        _raise_or_collect(MissingImages(problem, names))


def require_companions(folder: object, names: Sequence[str], what: str, found: Container[str]) -> list[bool]:
    """Which label files of a folder are `found` there; told before any is read.

    They all are, except inside `missing_collected`: MissingLabels names the folder, the number and the first few.
    """
    present = [name in found for name in names]
    missing = [name for name, there in zip(names, present, strict=True) if not there]
    if missing:
        first = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        problem = f"{folder}: {len(missing)} of {len(names)} {what} are missing ({first}); copy them again"
        _raise_or_collect(MissingLabels(problem, missing))
    return present


def require_both(folder: Path, images: Sequence[str], labels: Mapping[str, str], suffix: str) -> list[str]:
    """The images that have a label file beside them: all, except inside `missing_collected`.

    Every label file (with the name of its image in the official release) must have its image, too, and a stem of its
    own.
    """
    stems: dict[str, str] = {}
    for image in images:
        first = stems.setdefault(image.rpartition(".")[0], image)
        if first != image:
            raise DataError(f"{folder}: {first} and {image} share one {suffix} file; remove one of them")
    alone = ((folder / label, image) for label, image in labels.items() if label.rpartition(".")[0] not in stems)
    require_images(files := FolderImages(folder), alone)
    present = require_companions(folder, [f"{stem}{suffix}" for stem in stems], f"{suffix} files", files)
    return [image for image, there in zip(images, present, strict=True) if there]


def note_missing(problem: str, names: Sequence[str]) -> None:
    """Inside `missing_collected`, list images that the complete release has; a part of it can still be used."""
    if _COLLECTED.get() is not None:
        _raise_or_collect(MissingImages(problem, names))


def _raise_or_collect(error: MissingFiles) -> None:
    if (collected := _COLLECTED.get()) is None:
        raise error
    collected.append(error)
