"""One self-contained HTML page: text, tables and pictures, nothing fetched from anywhere."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1d2730; background: #fff;
  max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 6px; padding-top: 18px; border-top: 1px solid #e3e8ec; }
p { margin: 6px 0 12px; max-width: 78ch; }
p.lead { font-size: 17px; color: #46545f; }
figure { margin: 14px 0; }
img { max-width: 100%; height: auto; display: block; }
figcaption { color: #5c6b76; font-size: 14px; margin-top: 6px; max-width: 90ch; }
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 18px 7px 0; text-align: right; border-bottom: 1px solid #e9edf0; }
th { color: #5c6b76; font-weight: 600; font-size: 14px; }
th:first-child, td:first-child { text-align: left; }
td.best { font-weight: 700; color: #14532d; }
code { background: #f3f5f7; padding: 1px 5px; border-radius: 4px; font-size: 14px; }
footer { margin-top: 48px; padding-top: 14px; border-top: 1px solid #e3e8ec; color: #5c6b76; font-size: 13px; }
"""


class Cell(NamedTuple):
    """A table cell; the better one of a comparison is set in bold."""

    text: str
    best: bool = False


class Picture(NamedTuple):
    """A PNG with its caption; ``alt`` describes it to someone who cannot see it."""

    png: bytes
    caption: str
    alt: str

    def html(self) -> str:
        """The figure, with its data in the page."""
        data = base64.b64encode(self.png).decode("ascii")
        image = f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{html.escape(self.caption)}</figcaption></figure>"


class Section(NamedTuple):
    """A heading, paragraphs, perhaps a table, and pictures below it."""

    title: str
    text: Sequence[str] = ()
    table: str = ""
    pictures: Sequence[Picture] = ()

    def html(self) -> str:
        """All of it."""
        paragraphs = (f"<p>{html.escape(text)}</p>" for text in self.text)
        parts = [
            f"<h2>{html.escape(self.title)}</h2>",
            *paragraphs,
            self.table,
            *(each.html() for each in self.pictures),
        ]
        return "\n".join(["<section>", *parts, "</section>"])


def table(headings: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> str:
    """An HTML table; all text is escaped."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def page(title: str, lead: str, sections: Sequence[Section], facts: Mapping[str, str]) -> str:
    """The whole page; ``facts`` (command, hardware, versions) stand in small print at its end."""
    content = "\n".join(section.html() for section in sections)
    footer = "<br>\n".join(f"<b>{html.escape(key)}</b> {html.escape(value)}" for key, value in facts.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
{content}
<footer>
{footer}
</footer>
</body>
</html>
"""


def _cell(cell: str | Cell) -> str:
    text, best = (cell, False) if isinstance(cell, str) else cell
    mark = ' class="best"' if best else ""
    return f"<td{mark}>{html.escape(text)}</td>"
