"""Pictures of the demo report, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize, to_pil_image
from torchvision.utils import make_grid

POSE_COLOR, FACE_COLOR = "#2a6f97", "#c1662f"
GREEN, GREY = (46, 125, 50), (176, 176, 176)
MATRIX_IMAGES = 40


class Alignment(NamedTuple):
    """Scores of one branch: ``matrix`` (2N, 2N), ``maxima`` (m,) best score of each anchor, ``threshold`` T."""

    matrix: Tensor
    maxima: Tensor
    threshold: float


def png(picture: Image.Image) -> bytes:
    """A PIL picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def contact_sheet(images: Tensor, columns: int, pixels: int = 80, gap: int = 4) -> Image.Image:
    """Images (n, 3, S, S) in [0, 1] row by row, with a gap around each."""
    cells = resize(images, [pixels, pixels], InterpolationMode.BICUBIC).clamp(0, 1)
    return to_pil_image(make_grid(cells, nrow=columns, padding=gap, pad_value=1.0))


def pair_sheet(
    images: Sequence[tuple[Tensor, Tensor]], captions: Sequence[str], right: Sequence[bool], columns: int = 6
) -> Image.Image:
    """Calibrated pairs side by side, each in a frame that is green where the labels agree, with a caption below."""
    pixels, frame, text, gap = 76, 3, 16, 10
    width, height = 2 * pixels + 2 * frame + gap, pixels + 2 * frame + text + gap
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (min(columns, len(images)) * width - gap, rows * height - gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, ((first, second), caption, agrees) in enumerate(zip(images, captions, right, strict=True)):
        x, y = number % columns * width, number // columns * height
        draw.rectangle((x, y, x + 2 * (pixels + frame) - 1, y + pixels + 2 * frame - 1), fill=GREEN if agrees else GREY)
        sheet.paste(contact_sheet(torch.stack([first, second]), 2, pixels, gap=0), (x + frame, y + frame))
        draw.text((x + 2, y + pixels + 2 * frame + 2), caption, fill="black")
    return sheet


def training_curves(history: Mapping[str, Sequence[float]], losses: Mapping[str, str]) -> bytes:
    """Epoch means by name as curves: ``losses``, a panel for each title, and the calibrated pairs of a batch."""
    pairs = [("face/calibrated", "face", FACE_COLOR), ("pose/calibrated", "pose", POSE_COLOR)]
    panels = {title: [(name, "", "#444444")] for title, name in losses.items()} | {"calibrated pairs per batch": pairs}
    figure = Figure((12.5, 2.6), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, label, color in curves:
            values = history.get(name, [])
            axis.plot(range(1, len(values) + 1), values, color=color, linewidth=1.8, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        _plain(axis)
    axes[-1].legend(frameon=False, fontsize=9)
    return _to_png(figure)


def alignment_maps(face: Alignment, pose: Alignment) -> bytes:
    """PA over the first views of a batch as heat maps (Fig. 5); row maxima with T, pose against face (Fig. 7, 9)."""
    figure = Figure((12.5, 3.7), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    for axis, title, alignment in ((axes[0], "pose branch", pose), (axes[1], "face branch", face)):
        # the first views of the first images, then their second views
        images = len(alignment.matrix) // 2
        views = torch.arange(2 * images).view(2, images)[:, :MATRIX_IMAGES].flatten()
        shown = alignment.matrix[views][:, views].fill_diagonal_(float("nan"))
        low, high = float(shown.nanquantile(0.01)), max(float(shown.nanquantile(0.999)), alignment.threshold)
        mesh = axis.imshow(shown.numpy(), cmap="magma", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(f"PA, {title} ({len(shown)} views)", fontsize=10)
        axis.tick_params(labelsize=8)
        bar = figure.colorbar(mesh, ax=axis, fraction=0.046, pad=0.03)
        bar.ax.tick_params(labelsize=8)
        bar.ax.axhline(alignment.threshold, color="white", linewidth=2)
    _maxima(axes[2], face, pose)
    return _to_png(figure)


def _maxima(axis: Axes, face: Alignment, pose: Alignment) -> None:
    both = torch.cat([face.maxima, pose.maxima]).numpy()
    thresholds = face.threshold, pose.threshold
    edges = np.linspace(min(both.min(), *thresholds) - 0.02, max(both.max(), *thresholds) + 0.02, 48).tolist()
    for alignment, color, label, height in ((pose, POSE_COLOR, "pose", 0.97), (face, FACE_COLOR, "face", 0.89)):
        axis.hist(alignment.maxima.numpy(), edges, color=color, alpha=0.6, label=label)
        axis.axvline(alignment.threshold, color=color, linestyle="--", linewidth=1.4)
        text, frame = f" T = {alignment.threshold:.2f}", axis.get_xaxis_transform()  # y is a share of the axis
        axis.text(alignment.threshold, height, text, color=color, fontsize=9, transform=frame, va="top")
    axis.set_title("best PA of each anchor", fontsize=10)
    axis.legend(frameon=False, fontsize=9)
    _plain(axis)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
