"""The notebooks as files; `make notebooks` runs them."""

import json
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


strip = runpy.run_path(str(FOLDER / "strip.py"))["main"]


def test_notebooks_hold_no_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert NOTEBOOKS
    assert strip(["--check"]) == 0, capsys.readouterr().out


def test_outputs_counts_and_settings_are_removed(tmp_path: Path) -> None:
    source = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    expected = NOTEBOOKS[0].read_text(encoding="utf-8")
    cell = next(cell for cell in source["cells"] if cell["cell_type"] == "code")
    cell["execution_count"] = 7
    cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    cell["metadata"] = {"collapsed": True}
    source["metadata"]["language_info"]["version"] = "3.12.1"
    path = tmp_path / "used.ipynb"
    path.write_text(json.dumps(source), encoding="utf-8")
    assert strip(["--check", str(path)]) == 1
    assert strip([str(path)]) == 0
    assert path.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_line_of_a_cell_is_a_line_of_the_file(path: Path) -> None:
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) < 150


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_first_how_long_it_takes(path: Path) -> None:
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith(f"# {int(path.stem[:2])}. ")
    assert "**Time:**" in text
    assert "**What to expect:**" in text


def test_the_list_names_every_notebook() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"]({path.name})" not in text] == []
