"""Pages with what is hardest to fit, in a browser at two widths, light and dark."""

import pytest

from browser import chromium, faults
from pcfrl_lightning.figures import style
from pcfrl_lightning.reports.content import Page, Picture, Section, Table
from pcfrl_lightning.reports.render import write_page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A table of 14 columns, a long command and word, a wide and a small figure."""
    pictures = []
    for name, size in (("wide", (9.0, 3.0)), ("small", style.PANEL)):
        axes = style.plot("x", "y", name, size)
        axes.plot([0, 1])
        pictures.append(Picture(name, style.figure_of(axes), "caption " * 20, name))
    wide = Table(
        ["row", *map(str, range(13))], [["a long name of a row", *["12.34 \u00b1 0.56 (n = 3)"] * 13]] * 3, "wide"
    )
    facts = {"how": {"command": "pcfrl fit --config pcfrl:pretrain " * 9, "file": "x" * 300}}
    section = Section("Everything", ["text " * 80, "y" * 200], ["point"], [wide], facts, pictures, ["missing"])
    return write_page(Page("A title", "A lead", [section, section]), tmp_path_factory.mktemp("page"))


def test_page_fits_and_loads(report):
    with chromium() as browser:
        for width in (380, 1280):
            for scheme in ("light", "dark"):
                assert faults(browser, report, width, scheme) == [], (width, scheme)


def test_colours_follow_the_scheme_and_tables_are_text(report):
    with chromium() as browser:
        shades = {}
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme)
            page.goto(report.as_uri())
            shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            lines = page.inner_text("table").splitlines()
        assert shades["light"] == "rgb(255, 255, 255)"
        assert shades["dark"] != shades["light"]
        assert lines[-1].split("\t")[:2] == ["a long name of a row", "12.34 \u00b1 0.56 (n = 3)"]


def test_a_fault_is_found(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<img src="absent.png" alt="gone"><div style="width: 900px">x</div><script>throw 1</script>')
    with chromium() as browser:
        found = " ".join(faults(browser, page, 380))
    assert all(part in found for part in ("gone", "px wide", "error"))
