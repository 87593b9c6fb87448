"""Python of README and docs runs as it stands there, and so do the README's commands, in its order, on small data."""

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning.cli.main import main
from pcfrl_lightning.networks import load_encoder
from tiny import TinyFaces, tiny_model, trainer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUICK = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.limit_train_batches=1"]
QUICK += ["--data.num_workers=0", "--data.batch_size=4", "--trainer.max_epochs=1"]


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages suppose it: faces, photos, and a short run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    pixels = np.random.default_rng(0).integers(0, 255, (67, 24, 24, 3), dtype=np.uint8)
    names = [*(f"FACES/{index}.png" for index in range(63)), "FACES/a.jpg", "PHOTOS/c.jpg", "a.jpg", "b.jpg"]
    for name, image in zip(names, pixels, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "YUNET.onnx").write_bytes(b"a stand-in")
    return tmp_path


def short_run(folder: Path) -> None:
    """Checkpoint of a step, where a run leaves it."""
    training = trainer(folder, max_steps=1)
    training.fit(tiny_model(), datamodule=TinyFaces(batch_size=8))
    for run in ("runs/pretrain/version_0", "runs/demo"):
        training.save_checkpoint(folder / run / "checkpoints" / "last.ckpt")


class NoFaces:
    """In place of OpenCV's detector, whose model is not part of this package."""

    def setInputSize(self, size: tuple[int, int]) -> None:
        pass

    def detect(self, image: np.ndarray) -> tuple[int, None]:
        return 1, None


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "python") and page.stem != "extending"],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_python_of_a_page_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *arguments: NoFaces())
    if "runs/" in "".join(blocks(page, "python")):
        short_run(place)
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(block, names)
    if page.stem == "README":
        shapes = {name: tuple(value.shape) for name, value in names["features"].items()}
        assert shapes == dict.fromkeys(("f_s", "f_f", "f_p"), (8, 32 * 7 * 7))
        assert names["alignment"].shape == (512, 512)
        assert sorted(path.name for path in (place / "exported").iterdir()) == ["config.json", "model.safetensors"]
    if page.stem == "getting-started":
        assert [path.name for path in (place / "CROPS").iterdir()] == ["0.png"]


def run_command(text: str, *more: str) -> int:
    """Exit status of a command line in this process."""
    sys.argv = [*re.sub(r"\\\n", "", text).split(), *more]
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def commands_of(page: Path) -> list[str]:
    text = "".join(blocks(page, "bash"))
    return re.findall(r"^(?:PYTHONPATH=\. )?(pcfrl (?:[^\\\n]|\\\n)*)", text, re.MULTILINE)


def test_classes_of_the_page_on_extending_train(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "extending.md"
    (place / "mine.py").write_text("".join(blocks(page, "python")), encoding="utf-8")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    method, calibrator = commands_of(page)
    small = ["--model.image_size=32", "--trainer.enable_progress_bar=false"]
    assert run_command(method, *QUICK, *small) == 0
    narrow = ["--model.backbone.width=0.0625", "--model.projection_dim=16"]
    assert run_command(calibrator, *QUICK, *small, *narrow) == 0
    encoder = load_encoder("runs/pretrain/version_0", trust=["mine"])
    assert encoder.features(torch.rand(2, 3, 32, 32))
    mine: ModuleType = sys.modules.pop("mine")
    mutual = mine.Mutual()
    unit = torch.eye(4)[[0, 0, 1, 2]] + 0.1 * torch.arange(4)[:, None]
    score = torch.nn.functional.normalize(unit, dim=1)
    chosen = mutual(score @ score.T, ~torch.eye(4, dtype=torch.bool))
    best = (score @ score.T).fill_diagonal_(-1).argmax(dim=1)
    assert chosen.accepted.squeeze(1).tolist() == [int(best[best[i]]) == i for i in range(4)]


def test_commands_of_the_readme_run_in_its_order(place: Path) -> None:
    """On 64 images; FER-2013 with two images of each class is the only data set of the evaluation."""
    for split, name in (("train", "Training"), ("validation", "PublicTest"), ("test", "PrivateTest")):
        for expression in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"):
            folder = place / "DATA" / "fer2013" / split / expression
            folder.mkdir(parents=True)
            for index in range(2):
                shutil.copy(place / "a.jpg", folder / f"{name}_{index}.jpg")
    rows = [f"{index}.png,{'happy' if index % 2 else 'sad'}" for index in range(63)]
    Path("labels.csv").write_text("\n".join(["image,emotion", *rows]), encoding="utf-8")
    small = ["--model.backbone.width=0.0625", "--model.projection_dim=16", "--model.image_size=32"]
    probe = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--model.image_size=32", "--data.num_workers=0"]
    options = {"configs/experiment/cpu.yaml": [*QUICK, *small], "labelled.yaml": probe, "evaluate": ["--epochs", "1"]}
    status = {}
    for command in commands_of(ROOT / "README.md"):
        line = command.replace("X.ckpt", "runs/pretrain/version_0/checkpoints/last.ckpt")
        more = next((values for key, values in options.items() if key in line), None)
        elsewhere = ("pcfrl export", "pcfrl report", "pcfrl sweep", "pcfrl ablate")
        if line.startswith(elsewhere) or (line.startswith("pcfrl fit") and more is None):
            continue  # they have tests of their own, or are of the same kind as those that are run here
        status[command.split()[1] + command[-12:]] = run_command(line, *(more or ()))
    assert len(status) >= 5
    assert set(status.values()) == {0}
    assert {"faces.npz", "sheet.png"} <= {path.name for path in place.iterdir()}
