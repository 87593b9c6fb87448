"""Finding the images of a folder, an archive or several archives, and reading lists of them."""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pcfrl_lightning.data.images.rows import Once, Row, read_rows
from pcfrl_lightning.data.images.sources import (
    IMAGE_SUFFIXES,
    FileSource,
    ImageSource,
    SubsetSource,
    is_hidden,
    is_image_name,
)
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.errors import DataError, require

log = logging.getLogger(__name__)

Roots = str | Path | Sequence[str | Path]
"""One folder, or one or several zip archives."""
_SUFFIXES = "jpg, jpeg, png, bmp, pgm, ppm, tif, webp or gif"
_FIRST_IMAGE = re.compile(rf".*?({'|'.join(map(re.escape, IMAGE_SUFFIXES))})(?=[ \t,]|$)", re.IGNORECASE)


def as_paths(roots: Roots, kinds: str = "a folder") -> list[Path]:
    """The paths of a `root` argument; a ValueError where it is empty, which names the `kinds` of root there are, or
    where it names one twice."""
    paths = [Path(roots)] if isinstance(roots, (str, Path)) else [Path(root) for root in roots]
    require(bool(paths), f"root must name {kinds} or at least one zip archive")
    places = [path.resolve() for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    require(twice is None, f"root names {twice} twice; name it once")
    return paths


def open_images(roots: Roots, keep: Callable[[str], bool] = is_image_name) -> ImageSource:
    """All images below a folder, or in one or several zip archives, sorted by name.

    Other files are counted by suffix in one line of the log, hidden ones excepted.  ``keep`` tells which names
    (relative, forward slashes) to take.

    Raises:
        FileNotFoundError: a path does not exist.
        DataError: neither folder nor zip, or no image found.
    """
    paths = _existing(roots)
    others: Counter[str] = Counter()

    def taken(name: str) -> bool:
        if keep(name):
            return True
        if not is_hidden(name):
            others[PurePosixPath(name).suffix.lower() or "without a suffix"] += 1
        return False

    source: ImageSource
    if len(paths) == 1 and paths[0].is_dir():
        source = FileSource(paths[0], [name for name in walk(paths[0]) if taken(name)])
    else:
        source = _zips(paths, taken)
    where = ", ".join(map(str, paths))
    counts = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    if len(source) == 0:
        found = f" (found: {counts})" if counts else ""
        raise DataError(f"{where}: no images found; expected files named .{_SUFFIXES}{found}")
    if counts:
        log.warning("%s: %d files are left out, they are not named like images: %s", where, others.total(), counts)
    return source


def open_listed(roots: Roots, list_file: str | Path) -> ImageSource:
    """The images that a list names, in its order: paths below a folder, or members of archives; see `read_list`.

    A DataError tells of an image that is absent, or stands in several of the archives.
    """
    paths, listed = _existing(roots), read_list(list_file)
    if len(paths) == 1 and paths[0].is_dir():
        refuse_absent(paths[0], listed)
        return FileSource(paths[0], list(listed))
    archives = _zips(paths)
    names = [archives.name(row) for row in range(len(archives))]
    where, there = ", ".join(map(str, paths)), Counter(names)
    _refuse({name: row for name, row in listed.items() if name not in there}, where)
    for name in listed:
        if there[name] > 1:
            listed[name].fail(f"{name} stands in several archives of {where}; name one of them")
    rows = {name: row for row, name in enumerate(names)}
    return SubsetSource(archives, [rows[name] for name in listed])


def walk(root: str | Path) -> Iterator[str]:
    """Files below a folder, as relative paths with forward slashes, sorted, one directory at a time; no hidden ones.

    Links are followed.  A directory that may not be listed is left out, and the log says so.
    """
    seen: set[str] = set()

    def below(folder: str) -> Iterator[str]:
        real = os.path.realpath(os.path.join(root, folder))
        if real in seen:  # a link that leads back up
            return
        seen.add(real)
        try:
            with os.scandir(real) as entries:
                # with the slash, the order is that of the whole paths
                names = sorted(entry.name + "/" * _is_folder(entry) for entry in entries)
        except PermissionError as error:
            log.warning("%s is left out: %s", real, error.strerror)
            return
        for name in names:
            if not is_hidden(name):
                yield from below(folder + name) if name.endswith("/") else [folder + name]

    return below("")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()  # `is_dir` fails at a link to itself


def read_list(list_file: str | Path) -> dict[str, Row]:
    """Paths of a list file with the line that each stands in: one per line; what follows the image suffix is ignored.

    A path may hold blanks as long as it ends with an image suffix; label columns separated by a comma, a tab or a blank
    may follow it.  Empty lines and lines that begin with `#` are skipped.  A DataError names the line of a repeated
    image, or one that names no image or leads out of the root.
    """
    path, once, listed = Path(list_file), Once(), {}
    for row in read_rows(path, "\n"):
        text = row.text(0)
        if not text.startswith("#"):
            found = _FIRST_IMAGE.match(text)
            if found is None:
                row.fail(f"'{text}' does not begin with the path of an image (.{_SUFFIXES})")
            listed[once.add(row, row.inside(found[0]))] = row
    require(bool(listed), f"{path}: empty; expected one image path per line", DataError)
    return listed


class FolderImages:
    """Images below a folder, named relative to it; directories are listed when they are first asked about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, set[str]] = {}

    def __contains__(self, name: object) -> bool:
        parent, _, file = str(name).rpartition("/")
        if parent not in self._listed:
            directory = self.folder / parent
            self._listed[parent] = set(os.listdir(directory)) if directory.is_dir() else set()
        return file in self._listed[parent]

    def __str__(self) -> str:
        return str(self.folder)

    def source(self, names: Sequence[str]) -> ImageSource:
        """The named images in this order."""
        return FileSource(self.folder, names)


def refuse_absent(root: Path, listed: dict[str, Row]) -> None:
    """Check that everything a list names is below a folder; a DataError names the line of the first absent path."""
    there = FolderImages(root)
    _refuse({name: row for name, row in listed.items() if name not in there}, str(root))


def _refuse(absent: dict[str, Row], where: str) -> None:
    for name, row in absent.items():
        row.fail(f"'{name}' is not in {where} ({len(absent)} of the list in all)")


def _existing(roots: Roots) -> list[Path]:
    for path in (paths := as_paths(roots)):
        if not path.exists():
            raise FileNotFoundError(f"{path}: does not exist; expected a folder of images or a zip archive")
    return paths


def _zips(paths: Iterable[Path], keep: Callable[[str], bool] = is_image_name) -> ZipSource:
    for path in paths:
        require(path.suffix.lower() == ".zip", f"{path}: expected a folder or zip archives", DataError)
    return ZipSource(list(paths), keep)
