"""What mkdocs needs to know about this repository: pages that live outside `docs/`, and links between the two.

Pages are written so that their links work in the repository. `on_page_markdown` turns each link into one that works on
the site: to the page, if the target is one, else to the bare name of the file.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/results/README.md": "results.md",
    "benchmarks/results/disentangle/README.md": "results-disentangle.md",
    "benchmarks/results/fer2013/curves.png": "figures/fer2013_curves.png",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "notebooks/README.md": "notebooks.md",
}
"""Files of the repository and their place on the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and pictures of other folders."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of a page."""
    here = page.file.src_uri
    origin = next((source for source, shown in ELSEWHERE.items() if shown == here), f"docs/{here}")

    def rewrite(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups()
        if re.match(r"[a-z]+:", target):
            return link.group()
        path = os.path.normpath(os.path.join(os.path.dirname(origin), target))
        shown = ELSEWHERE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(shown):
            return f"{picture}[{text}]({os.path.relpath(shown, os.path.dirname(here) or '.')}{anchor or ''})"
        if not (ROOT / path).exists():
            return link.group()  # mkdocs says that it is dead
        in_table = markdown[: link.start()].rpartition("\n")[2].startswith("|")
        return text if in_table or text.startswith("`") else f"{text} (`{path}`)"

    return LINK.sub(rewrite, markdown)
