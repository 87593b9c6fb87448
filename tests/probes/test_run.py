"""`measure`: a probe in one call."""

import json
import logging

import pytest
import torch

from host_syncs import HostSyncs
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes import LabelProbe, Probe, measure
from pcfrl_lightning.probes.features import source as source_module
from pcfrl_lightning.probes.features.source import FeatureSource
from pcfrl_lightning.probes.results import command


@pytest.fixture
def data(tiny_data, faces):
    splits = {name: faces(name, {"mood": torch.arange(24) % 2}, seed) for seed, name in enumerate(("train", "test"))}
    return tiny_data(splits)


def test_a_probe_is_fitted_and_tested_and_says_nothing(data, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)  # in a notebook rich would pass standard output by
    level = logging.getLogger("lightning.pytorch").level
    probe = LabelProbe("mood", baseline="pixels", image_size=16, cache_dir=str(tmp_path / "features"))
    results = measure(probe, data, epochs=3, folder=tmp_path / "out", accelerator="cpu")
    assert results["epochs"] == 3
    assert 0 <= results["metrics"]["last"]["accuracy"] <= 1
    assert json.loads((tmp_path / "out/results.json").read_text())["metrics"] == results["metrics"]
    assert "accuracy" in (tmp_path / "out/report.txt").read_text()
    assert capfd.readouterr().out == ""
    assert logging.getLogger("lightning.pytorch").level == level


def test_names_of_the_user_stand_in_the_report_as_they_are(data, tmp_path, monkeypatch):
    data.name, folder = "größe", tmp_path / "run[red]\udcff"
    probe = LabelProbe("mood", baseline="pixels", image_size=16, cache_dir=str(tmp_path / "features"))
    monkeypatch.setenv("COLUMNS", "200")
    with monkeypatch.context() as patch:
        patch.setattr("io.text_encoding", lambda encoding, _=2: encoding or "ascii")  # of another locale
        measure(probe, data, epochs=1, folder=folder, accelerator="cpu")
    report = (folder / "report.txt").read_text(encoding="utf-8")
    assert "mood on größe" in report
    assert r"/run[red]\udcff/results.json" in report


def test_steps_wait_for_nothing_and_outputs_stay_on_the_device(data, tmp_path, monkeypatch):
    found = []
    step = Probe.training_step

    def watched(self, batch, batch_idx):
        with HostSyncs() as syncs:
            loss = step(self, batch, batch_idx)
        found.append(syncs.found)
        return loss

    monkeypatch.setattr(Probe, "training_step", watched)
    probe = LabelProbe("mood", baseline="pixels", image_size=16, batch_size=5, cache_dir=str(tmp_path / "features"))
    measure(probe, data, epochs=2, folder=tmp_path, accelerator="cpu")
    assert found == [[]] * 10
    probe._collect("pixels", "all", torch.empty(1, 1, 5, 2, device="meta"))
    assert probe._collected["pixels", "all"][0].device.type == "meta"


@pytest.mark.parametrize(("asked", "cores", "used"), [(0, 16, 0), (2, 16, 15), (20, 16, 20), (2, 1, 2)])
def test_all_cores_decode_for_a_gpu_unless_none_is_asked_for(data, tmp_path, monkeypatch, asked, cores, used):
    passed = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(source_module, "cached_features", lambda *_, **options: passed.append(options) or 1 / 0)
    for device in ("cuda", "cpu"):
        source = FeatureSource(baseline="pixels", cache_dir=str(tmp_path))
        with pytest.raises(ZeroDivisionError):
            source.read(data.given["train"], torch.device(device), num_workers=asked)
    assert (passed[0]["num_workers"], passed[0]["batch_size"]) == (used, 512)
    assert passed[1]["num_workers"] == asked
    assert "batch_size" not in passed[1]


def test_the_precision_of_the_features_is_in_the_results(data, checkpoint, tmp_path):
    for precision in ("float32", "bf16"):
        more = {"image_size": 32, "precision": precision, "cache_dir": str(tmp_path / "features")}
        results = measure(LabelProbe("mood", checkpoint=checkpoint, **more), data, 1, tmp_path, "cpu")
        assert results["features"]["precision"] == precision
    keys = [json.loads(path.read_text())["key"]["extractor"] for path in (tmp_path / "features").glob("*.json")]
    assert sorted(key.split()[-1] for key in keys) == ["bf16", "bf16", "float32", "float32"]


def test_the_seed_of_the_probe_decides(data, tmp_path):
    def weights(seed):
        probe = LabelProbe("mood", baseline="pixels", image_size=16, seed=seed, cache_dir=str(tmp_path / "features"))
        measure(probe, data, epochs=2, folder=tmp_path / str(seed), accelerator="cpu")
        return torch.cat([weight.flatten() for weight in probe.heads.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_what_is_wrong_with_the_data_is_an_error_here_too(data, tmp_path):
    probe = LabelProbe("age", baseline="pixels", image_size=16, cache_dir=str(tmp_path / "features"))
    with pytest.raises(DataError, match="age"):
        measure(probe, data, epochs=1, folder=tmp_path, accelerator="cpu")


def test_what_has_no_head_is_only_tested(tiny_data, faces, tmp_path):
    data = tiny_data({"test": faces("test", {"person": torch.arange(60) % 20})})
    probe = LabelProbe("person", "pairs", baseline="pixels", image_size=16, cache_dir=str(tmp_path / "features"))
    results = measure(probe, data, folder=tmp_path, accelerator="cpu")
    assert results["protocol"] == "training-free"
    assert 0 < results["metrics"]["last"]["accuracy"] < 1


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/home/me/faces", "faces"),
        ("--root=/home/me/my faces", "--root=my faces"),
        ("lfw.roots=[/home/me/a, /home/me/b]", "lfw.roots=[a, b]"),
        ('{"root": "/home/me/x", "rate": 1e-3}', '{"root": "x", "rate": 1e-3}'),
        ("a/b=c/d", "a/b=c/d"),
    ],
)
def test_a_command_line_does_not_name_the_user(word, shown):
    assert command(["pcfrl", word]) == f"pcfrl {shown}"
