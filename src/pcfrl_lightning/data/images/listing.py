"""Finding the images of a folder, an archive or several archives, and reading lists of paths."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pcfrl_lightning.data.images.rows import open_text
from pcfrl_lightning.data.images.sources import IMAGE_SUFFIXES, FileSource, ImageSource, is_image_name, safe_join
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.errors import DataError

_SUFFIXES = "jpg, jpeg, png, bmp, pgm, ppm, tif, webp or gif"


def open_images(roots: str | Path | Sequence[str | Path], keep: Callable[[str], bool] = is_image_name) -> ImageSource:
    """All images below a folder, or in one or several zip archives, sorted by name.

    Args:
        roots: one folder, or archives.
        keep: which names (relative, forward slashes) to take; default: everything with an image suffix.

    Raises:
        FileNotFoundError: a path does not exist.
        DataError: neither folder nor zip, or no image found.
    """
    paths = [Path(roots)] if isinstance(roots, (str, Path)) else [Path(root) for root in roots]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: does not exist; expected a folder of images or a zip archive")
    if len(paths) == 1 and paths[0].is_dir():
        source: ImageSource = FileSource(paths[0], [name for name in walk(paths[0]) if keep(name)])
    else:
        for path in paths:
            if path.suffix.lower() != ".zip":
                raise DataError(f"{path}: expected a folder or zip archives")
        source = ZipSource(paths, keep)
    if len(source) == 0:
        raise DataError(f"{', '.join(map(str, paths))}: no images found; expected files named .{_SUFFIXES}")
    return source


def walk(root: Path) -> list[str]:
    """Names of all files below a folder, relative to it, with forward slashes, sorted; links are followed."""
    names = []
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            subfolders.clear()
            continue
        seen.add(real)
        prefix = os.path.relpath(folder, root).replace(os.sep, "/")
        names += files if prefix == "." else [f"{prefix}/{name}" for name in files]
    return sorted(names)


def read_list(list_file: str | Path, root: str | Path) -> list[str]:
    """Paths of a list file: one per line, relative to `root`; anything after the image suffix is ignored.

    A path may hold blanks as long as it ends with an image suffix; label columns separated by a comma, a tab or a blank
    may follow it.  Empty lines and lines that begin with `#` are skipped.

    Raises:
        FileNotFoundError: no such list.
        DataError: not UTF-8 text, an empty list, or a line that names no image or leads out of the root.
    """
    path = Path(list_file)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list file; expected one image path per line")
    names = []
    with open_text(path) as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name = _first_image(text)
        if name is None:
            raise DataError(f"{path} line {number}: '{text}' does not begin with the path of an image (.{_SUFFIXES})")
        names.append(safe_join(root, name, where=f"{path} line {number}").relative_to(root).as_posix())
    if not names:
        raise DataError(f"{path}: empty; expected one image path per line")
    return names


def _first_image(text: str) -> str | None:
    """The shortest beginning of a line, up to a separator, that is the name of an image."""
    for position, character in enumerate(f"{text} "):
        if character in " \t," and text[:position].lower().endswith(IMAGE_SUFFIXES):
            return text[:position]
    return None
