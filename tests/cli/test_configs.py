"""Configs of the package: `--config pcfrl:NAME`, and they are in what pip installs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pcfrl_lightning.cli.configs import NO_LAYERS, config_path, shipped, with_config_paths
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.networks.stored import WEIGHTS

ROOT = Path(__file__).parents[2]
NAMES = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}


def test_every_config_of_the_folder_has_a_name():
    assert {f"{name}.yaml" for name in shipped()} == {name for name in NAMES if not name.startswith(NO_LAYERS)}
    for name in shipped():
        assert Path(config_path(f"pcfrl:{name}")).read_bytes() == (ROOT / f"configs/{name}.yaml").read_bytes()


def test_names_are_replaced_wherever_a_config_is_given():
    pretrain = config_path("pcfrl:pretrain")
    given = ["fit", "--config", "pcfrl:pretrain", "--config=pcfrl:pretrain", "-c", "pcfrl:pretrain", "--model=pcfrl:x"]
    expected = ["fit", "--config", pretrain, f"--config={pretrain}", "-c", pretrain, "--model=pcfrl:x"]
    assert with_config_paths(given) == expected
    assert config_path("{trainer: {max_epochs: 3}}") == "{trainer: {max_epochs: 3}}"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"did you mean pretrain\?; there are demo, .*method/pcl.*, probe/linear"):
        config_path("pcfrl:pretrian")


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("configs/pretrain.yml", "pretrain"),
        ("configs/pretrain", "pretrain"),
        ("simclr.yml", "method/simclr"),
        ("configs/prob/linear.yaml", "probe/linear"),
    ],
)
def test_a_wrong_path_is_answered_with_the_nearest_config(tmp_path, monkeypatch, given, nearest):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"--config {given} does not exist; did you mean pcfrl:{nearest}\?"):
        config_path(given)
    Path(tmp_path / Path(given).name).touch()
    assert config_path(Path(given).name) == Path(given).name
    assert config_path("pcfrl:pretrain.yml") == config_path("pcfrl:pretrain")


def test_the_wheel_holds_configs_weights_and_all_other_data(tmp_path):
    """Built as pip does it, without a network."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for name in ("src", "configs"):
        shutil.copytree(
            ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=copy, capture_output=True, text=True, check=True
    )
    names = zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist()
    configs = {name for name in names if name.startswith("pcfrl_lightning/configs/")}
    assert configs == {f"pcfrl_lightning/configs/{name}" for name in NAMES}
    package = ROOT / "src/pcfrl_lightning"
    files = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    data = {name for name in files if not name.endswith((".py", ".pyc"))}
    assert f"pcfrl_lightning/pretrained/synthetic/{WEIGHTS}" in data
    assert data <= set(names)  # templates and tables of the report among them
