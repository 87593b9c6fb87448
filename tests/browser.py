"""A page opened in headless Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def chromium() -> Iterator:
    """The browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=_OPTIONS)
        yield browser
        browser.close()


def faults(browser, path: Path, width: int, scheme: str = "light") -> list[str]:
    """What is wrong with a page at one width: pictures that do not load, messages, scrolling, requests."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    found: list[str] = []
    page.on("console", lambda message: found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or found.append(request.url))
    page.goto(path.resolve().as_uri())
    broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)")
    found += [f"picture without pixels: {alt}" for alt in broken]
    inside, outside = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    if inside > outside:
        found.append(f"the page is {inside} px wide in a window of {outside}")
    page.close()
    return found
