"""What contributors expect to find around the code works with what `make setup` installs."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_hooks_call_tools_of_the_environment():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert {hook["id"] for hook in hooks} == {"ruff", "ruff-format", "mypy", "notebooks"}
    for hook in hooks:
        program, *words = hook["entry"].split()
        assert hook["language"] == "system"  # nothing is downloaded
        assert program.startswith(".venv/bin/")
        script = next((word for word in words if word.endswith(".py")), None)
        assert (ROOT / script).is_file() if script else importlib.util.find_spec(Path(program).name)


def test_the_workflow_calls_what_ci_calls():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


@pytest.mark.parametrize("name", ["ISSUE_TEMPLATE/bug.md", "pull_request_template.md"])
def test_templates_ask_for_the_doctor(name):
    assert "`pcfrl doctor`" in (ROOT / ".github" / name).read_text(encoding="utf-8")


def test_the_code_keeps_to_the_oldest_python_that_is_promised():
    promised = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    for path in sorted((ROOT / "src").rglob("*.py")):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, int(promised[1])))


def test_the_changelog_names_the_version():
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    headings = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased"
    assert version in headings
