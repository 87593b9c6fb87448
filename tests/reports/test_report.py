"""The page and its pictures, on made-up numbers."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning import functional as F
from pcfrl_lightning.data import ArraySource, FaceSet
from pcfrl_lightning.figures import pictures
from pcfrl_lightning.heads import ContrastOutput
from pcfrl_lightning.reports.calibrated_pairs import Batch, Branch, Tally
from pcfrl_lightning.reports.demo import Calibration
from pcfrl_lightning.reports.demo_report import pairs_section, results_section
from pcfrl_lightning.reports.page import Cell, Picture, Section, page, table

MEASURED = {
    "random_init": {"expression_accuracy": 0.2, "verification_accuracy": 0.55, "au_f1": 0.24, "pose_mae_deg": 15.0},
    "pretrained": {"expression_accuracy": 0.4, "verification_accuracy": 0.54, "au_f1": 0.3, "pose_mae_deg": 6.0},
    "features": {"f_p": {"pose_mae_deg": 5.0}},
}


def png(color="red") -> bytes:
    return pictures.png(Image.new("RGB", (4, 3), color))


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def test_page_is_self_contained_and_escaped():
    sections = [
        Section(
            "A & B", ["1 < 2"], table(["x"], [["<b>"], [Cell("7", best=True)]]), [Picture(png(), "a caption", 'a "p"')]
        )
    ]
    text = page("Title", "Lead", sections, {"seed": "0"})
    assert "A &amp; B" in text
    assert "1 &lt; 2" in text
    assert "&lt;b&gt;" in text
    assert '<td class="best">7</td>' in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    assert "http" not in text
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert base64.b64decode(data) == png()


def test_better_column_is_bold_in_the_right_direction():
    found = results_section(MEASURED).table
    bold = re.findall(r'<td class="best">([^<]+)</td>', found)
    assert bold == ["40.0 %", "55.0 %", "30.0 %", "6.00 deg"]
    assert "↓ lower is better" in found
    assert "pretrained, F_p" in found
    assert "5.00 deg" in found


def test_contact_sheet_and_pairs_have_room_for_all():
    images = torch.rand(5, 3, 8, 8)
    assert pictures.contact_sheet(images, columns=3, pixels=10, gap=2).size == (38, 26)
    pairs = [(images[0], images[1])] * 4
    sheet = pictures.pair_sheet(pairs, ["a"] * 4, [True, False, True, False], columns=3)
    assert sheet.getpixel((0, 0)) == pictures.GREEN
    assert sheet.size[0] > 3 * 2 * 76


def test_curves_and_maps_are_pictures():
    history = {"face/loss": [2.0, 1.0], "face/calibrated": [3.0, 4.0], "pose/calibrated": [1.0, 0.0]}
    assert size(pictures.training_curves(history, {"face": "face/loss", "absent": "nothing"}))[0] > 500
    scores = pictures.Alignment(torch.randn(12, 12), torch.randn(12), 1.0)
    assert size(pictures.alignment_maps(scores, scores))[0] > 500


@pytest.mark.parametrize(("right", "pairs", "shown"), [(0, 0, "none calibrated"), (1, 2, "50.0 %")])
def test_precision_without_pairs_is_said(right, pairs, shown):
    """Two images whose labels agree; ``pairs`` of the four anchors are calibrated."""
    accepted = torch.arange(4).unsqueeze(1) < pairs
    calibration = F.Calibration(
        torch.tensor([[1], [0], [1], [0]]), accepted, torch.ones(4, 1), *(torch.tensor(1.0) for _ in range(3))
    )
    output = ContrastOutput(torch.tensor(0.0), torch.tensor(0.0), {}, calibration, torch.arange(4))
    branch = Branch(output, torch.eye(4))
    counted = Tally(pairs, right, 4, 4, 2, 2)
    found = Calibration(counted, counted, Batch(torch.arange(2), branch, branch), 1)
    faces = FaceSet(
        ArraySource(np.zeros((2, 8, 8, 3), np.uint8)), {"pose": torch.zeros(2, 3), "identity": torch.zeros(2).long()}
    )
    section = pairs_section(found.results(), found, faces)
    assert shown in section.table
    assert len(section.pictures) == (2 if pairs else 0)
