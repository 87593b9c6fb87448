"""`pcfrl doctor`: a whole installation passes, and each thing that is broken is one line and status 1."""

import json
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from pcfrl_lightning.bench import installation
from pcfrl_lightning.bench.installation import EXTRAS, Finding, examine
from pcfrl_lightning.cli.doctor import as_text

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def failed(found):
    return {f"{group}/{each.name}": each.text for group, members in found.items() for each in members if not each.ok}


def test_a_working_installation_passes_and_tells_everything(command, folder, capsys):
    assert command("doctor") == 0
    printed = capsys.readouterr().out
    for name in ("python", "torch", "lightning", "torchvision", "torchmetrics", "albumentations", "wandb", "timm"):
        assert re.search(rf"^  {name} +\S", printed, re.M), name
    for name in ("jpeg", "png", "webp", r"video \(OpenCV\)"):
        assert re.search(rf"^  {name} +read$", printed, re.M), name
    assert re.search(r"^  cpu float32 +\d+ ms, loss \d+\.\d+$", printed, re.M)
    assert re.search(r"^  cpu bf16 +\d+ ms, loss \d+\.\d+$", printed, re.M)
    assert re.search(r"^  cache +\$PCFRL_CACHE/, \d+ GB free$", printed, re.M)
    assert printed.splitlines()[-1] == "all checks passed"
    assert str(folder) not in printed  # paths of the user do not belong into a bug report
    assert str(Path.home()) not in printed or Path.home() == Path("/")


def test_json_holds_the_same(command, capsys, monkeypatch):
    monkeypatch.setattr(installation, "_steps", lambda: [Finding("cpu float32", "no loss", ok=False)])
    assert command("doctor", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["training step"] == {"cpu float32": {"text": "no loss", "ok": False}}
    assert told["packages"]["torch"] == {"text": metadata.version("torch"), "ok": True}


def test_versions_that_are_absent_or_too_old_fail_and_say_what_to_install(monkeypatch):
    real = metadata.version

    def version(name):
        if name in ("wandb", "timm"):
            raise metadata.PackageNotFoundError(name)
        return "2.1.0" if name == "torch" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(installation, "_steps", list)
    findings = examine()
    assert failed(findings) == {
        "packages/torch": "2.1.0, but >=2.11 is needed: pip install 'torch>=2.11'",
        "packages/wandb": "is not installed: pip install 'wandb>=0.19'",
    }
    assert Finding("timm", f"no timm; gives {EXTRAS['timm']}") in findings["extras"]
    assert as_text(findings).splitlines()[-1] == "2 failed: packages (torch), packages (wandb)"


def test_a_library_that_does_not_load_is_one_failed_check(monkeypatch, tmp_path):
    def broken(*_):
        raise OSError("libcudart.so: cannot open\nshared object file")

    monkeypatch.setattr(installation, "training_step", broken)
    monkeypatch.setattr("pcfrl_lightning.data.images.decode.decode", broken)
    monkeypatch.setattr("pcfrl_lightning.probes.results.hardware", broken)
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "absent"))
    found = failed(examine())
    reason = "OSError: libcudart.so: cannot open shared object file"
    steps = {key for key in found if key.startswith("training step/")}
    assert steps >= {"training step/cpu float32", "training step/cpu bf16"}
    assert found.keys() - steps == {"devices/failed", "codecs/jpeg", "codecs/png", "codecs/webp"}
    assert set(found.values()) == {reason}
    assert not (tmp_path / "absent").exists()


def test_wrong_pixels_and_a_full_disk_are_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr("pcfrl_lightning.data.images.decode.decode", lambda data, name: np.zeros((32, 32, 3), np.uint8))
    assert failed({"codecs": installation._codecs()}) == {
        f"codecs/{kind}": "read wrongly, off by 200" for kind in ("jpeg", "png", "webp")
    }
    usage = installation.shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda _: usage)
    found = failed({"disk": installation._disk()})
    assert found.keys() >= {"disk/cache", "disk/this folder"}
    assert "--shm-size" in found.get("disk/shared memory", "--shm-size")


def test_the_table_of_extras_is_that_of_the_project():
    assert EXTRAS.keys() == PROJECT["optional-dependencies"].keys()
    named = re.search(r"\[(.*)\]", PROJECT["optional-dependencies"]["all"][0])[1].split(",")
    assert tuple(named) == installation.OPTIONAL


def test_the_table_of_the_documentation_has_every_extra():
    page = (Path(__file__).parents[2] / "docs/getting-started.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?`) \|", page.partition("| extra |")[2].partition("###")[0], re.M)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(EXTRAS)
