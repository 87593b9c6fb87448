"""Remove from notebooks what a run leaves in them, so that a diff shows what a person changed.

python notebooks/strip.py [NOTEBOOK ...]         # default: all beside this file
python notebooks/strip.py --check [NOTEBOOK ...] # change nothing; status 1 if something is left
"""

import sys
from pathlib import Path

import nbformat

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """The same notebook without outputs, counts and settings of cells, its cells numbered."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata = METADATA
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {}
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def main(arguments: list[str]) -> int:
    """Strip, or check; returns the exit status."""
    paths = [Path(text) for text in arguments if text != "--check"] or sorted(Path(__file__).parent.glob("*.ipynb"))
    left = [path for path in paths if path.read_text(encoding="utf-8") != stripped(path.read_text(encoding="utf-8"))]
    for path in left:
        if "--check" in arguments:
            print(f"{path} is not stripped: run python notebooks/strip.py")
        else:
            path.write_text(stripped(path.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"stripped {path}")
    return 1 if left and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
