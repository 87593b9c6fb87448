"""A page as one HTML file with its figures inside, and as Markdown with its figures beside it."""

import base64
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pcfrl_lightning.figures import style
from pcfrl_lightning.files import replacing
from pcfrl_lightning.reports.content import Page, Picture

FIGURES = "figures"
_CSS_PIXELS = 96  # an inch of a figure on the page


def write_page(page: Page, out: Path) -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/*.png`` and ``*.svg`` into a folder; returns the HTML file.

    The folder is made if it does not exist; files of an earlier report are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    names: dict[Picture, str] = {}
    for picture in (each for section in page.shown for each in section.pictures):
        stem = re.sub(r"[^A-Za-z0-9]+", "_", picture.name).strip("_").lower()
        numbered = (f"{stem}_{number}" if number > 1 else stem for number in count(1))  # runs may be "a b" and "A-b"
        names[picture] = next(name for name in numbered if name not in names.values())
        style.save(picture.figure, out / FIGURES / names[picture], picture.dpi)
    environment = _environment({picture: out / FIGURES / f"{name}.png" for picture, name in names.items()})
    for name in ("report.md", "report.html"):
        text = environment.get_template(f"{name}.j2").render(page=page, figures=FIGURES, names=names)
        with replacing(out / name, shared=True) as part:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return out / "report.html"


def _environment(files: Mapping[Picture, Path]) -> Environment:
    def data(picture: Picture) -> str:
        return f"data:image/png;base64,{base64.b64encode(files[picture].read_bytes()).decode('ascii')}"

    def size(picture: Picture) -> tuple[int, int]:
        width, height = picture.figure.get_size_inches()
        return round(_CSS_PIXELS * width), round(_CSS_PIXELS * height)

    found = Environment(
        loader=PackageLoader("pcfrl_lightning.reports"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"data": data, "size": size, "plain": _plain_markdown}
    return found


def _plain_markdown(text: str) -> str:
    """Text as it is, in one line, of which Markdown makes nothing else: no emphasis, code, link, tag or cell."""
    marks = r"[`*|]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])|\\(?=[!-/:-@\[-`{-~])"
    return re.sub(marks, r"\\\g<0>", " ".join(text.split())).replace("<", "&lt;")
