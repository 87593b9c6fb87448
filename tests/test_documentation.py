"""Links of README, docs and other pages lead somewhere; the site is built without warnings, and is complete offline."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [*sorted((ROOT / "benchmarks").rglob("README.md")), ROOT / "notebooks" / "README.md"]


def prose(path: Path) -> str:
    """The page without fenced and indented code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def anchors(path: Path) -> set[str]:
    """Names of the headings, as they are made from the text: small letters, hyphens, no punctuation."""
    headings = re.findall(r"^#+ +(.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"(https?|mailto):", target):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (heading and heading not in anchors(path)):
            dead.append(target)
    assert not dead


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_site_is_built_without_warnings_and_loads_nothing_from_other_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_of, build = (pytest.importorskip(f"mkdocs.{name}") for name in ("config", "commands.build"))
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    config: Any = config_of.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True)
    build.build(config)  # a warning ends it
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 10
    loaded = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    assert {url for page in pages for url in loaded.findall(page.read_text(encoding="utf-8"))} == set()
