"""The whole demo in a tiny setting: configs/demo.yaml with few images, a narrow network and one epoch."""

import json
from pathlib import Path

import pytest

from browser import chromium, faults
from pcfrl_lightning.cli.demo import calibration_lines, main, run_demo
from pcfrl_lightning.errors import UsageError

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
TINY = [
    "--model.image_size=32",
    "--model.projection_dim=16",
    "--model.backbone.width=0.0625",
    "--data.train_size=64",
    "--data.val_size=20",
    "--data.test_size=60",
    "--data.identities=16",
    "--data.val_identities=10",
    "--data.test_identities=20",
    "--data.pairs_per_fold=4",
    "--data.batch_size=32",
    "--data.num_workers=0",
    "--trainer.max_epochs=1",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
]
METRICS = {"expression_accuracy", "verification_accuracy", "au_f1", "pose_mae_deg"}


def test_demo_twice_in_one_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "runs" / "demo"
    with monkeypatch.context() as patch:  # the first report need not be drawn
        patch.setattr("pcfrl_lightning.reports.build.write_report", lambda runs, folder: folder / "report.html")
        run_demo(CONFIG, out, TINY, probe_epochs=2)
    results = run_demo(CONFIG, out, TINY, probe_epochs=2)
    printed = capsys.readouterr().out
    assert "report.html" in printed
    assert "head pose" in printed

    stored = json.loads((out / "results.json").read_text())
    assert stored["pretrained"] == pytest.approx(results["pretrained"])
    assert set(stored["random_init"]) == set(stored["pretrained"]) == METRICS
    assert all(isinstance(stored[row][key], float) for row in ("random_init", "pretrained") for key in METRICS)
    calibration = stored["calibration"]
    for branch in ("pose", "face"):
        assert 0 <= calibration[f"{branch}_base_rate"] <= 1
        assert (calibration[f"{branch}_precision"] is None) == (calibration[f"{branch}_pairs"] == 0)
    assert {"seed", "hardware", "versions", "seconds", "command"} <= set(stored)

    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["last.ckpt"]
    assert (out / "config.yaml").is_file()
    assert (out / "report.md").is_file()
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 18
    for part in ("What was learned", "What is in F_f and what is in F_p", "Fig. 5", "Fig. 8", "Fig. 10", "ROC"):
        assert part in page
    with chromium() as browser:
        assert [fault for width in (380, 1280) for fault in faults(browser, out / "report.html", width)] == []
    assert "http" not in page


def test_missing_config_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"configs/demo\.yaml does not exist; did you mean pcfrl:demo\?"):
        main(["--config", "configs/demo.yaml"])


def test_no_calibrated_pair_is_said_in_words():
    found = {}
    for name, pairs, precision in (("pose", 0, None), ("face", 4, 0.25)):
        found |= {f"{name}_pairs": pairs, f"{name}_precision": precision, f"{name}_base_rate": 0.02}
        found |= {f"{name}_anchors": 256, f"{name}_agrees": "rule"}
    pose, face = calibration_lines(found)
    assert "no pair of 256 anchors reached T" in pose
    assert "25.0 % of 4 calibrated pairs are right" in face
