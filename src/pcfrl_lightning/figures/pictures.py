"""Pictures of the demo report, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize, to_pil_image
from torchvision.utils import make_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    """Loss curves (one panel each) and the number of calibrated pairs per batch, against the epoch.

    Args:
        history: epoch means by name, equally many values each.
        losses: title to name in ``history``; ``face/calibrated`` and ``pose/calibrated`` make the last panel.
    """
    figure = _figure(12.5, 2.6)
    axes = figure.subplots(1, len(losses) + 1)
    for axis, (title, name) in zip(axes, losses.items(), strict=False):
        values = history.get(name, [])
        axis.plot(range(1, len(values) + 1), values, color="#444444", linewidth=1.8)
        axis.set_title(title, fontsize=10)
    for name, color in (("face", FACE_COLOR), ("pose", POSE_COLOR)):
        values = history.get(f"{name}/calibrated", [])
        axes[-1].plot(range(1, len(values) + 1), values, color=color, linewidth=1.8, label=name)
    axes[-1].set_title("calibrated pairs per batch", fontsize=10)
    axes[-1].legend(frameon=False, fontsize=9)
    for axis in axes:
        _plain(axis)
        axis.set_xlabel("epoch", fontsize=9)
    return _to_png(figure)


def alignment_maps(face: Alignment, pose: Alignment) -> bytes:
    """PA over the first views of a batch as heat maps (Fig. 5); row maxima with T, pose against face (Fig. 7, 9)."""
    figure = _figure(12.5, 3.7)
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    for axis, title, alignment in ((axes[0], "pose branch", pose), (axes[1], "face branch", face)):
        shown = _first_images(alignment.matrix).fill_diagonal_(float("nan"))
        low, high = float(shown.nanquantile(0.01)), max(float(shown.nanquantile(0.999)), alignment.threshold)
        mesh = axis.imshow(shown.numpy(), cmap="magma", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(f"PA, {title} ({len(shown)} views)", fontsize=10)
        axis.tick_params(labelsize=8)
        bar = figure.colorbar(mesh, ax=axis, fraction=0.046, pad=0.03)
        bar.ax.tick_params(labelsize=8)
        bar.ax.axhline(alignment.threshold, color="white", linewidth=2)
    _maxima(axes[2], face, pose)
    return _to_png(figure)


def _maxima(axis: "Axes", face: Alignment, pose: Alignment) -> None:
    both = torch.cat([face.maxima, pose.maxima]).numpy()
    thresholds = face.threshold, pose.threshold
    edges = np.linspace(min(both.min(), *thresholds) - 0.02, max(both.max(), *thresholds) + 0.02, 48).tolist()
    for alignment, color, label, height in ((pose, POSE_COLOR, "pose", 0.97), (face, FACE_COLOR, "face", 0.89)):
        axis.hist(alignment.maxima.numpy(), edges, color=color, alpha=0.6, label=label)
        axis.axvline(alignment.threshold, color=color, linestyle="--", linewidth=1.4)
        place: dict[str, Any] = {
            "transform": axis.get_xaxis_transform(),
            "verticalalignment": "top",
        }  # data, axes fraction
        axis.text(alignment.threshold, height, f" T = {alignment.threshold:.2f}", color=color, fontsize=9, **place)
    axis.set_title("best PA of each anchor", fontsize=10)
    axis.legend(frameon=False, fontsize=9)
    _plain(axis)


def _first_images(matrix: Tensor) -> Tensor:
    """A copy of rows and columns of the first images: their first views, then their second views."""
    images = len(matrix) // 2
    count = min(MATRIX_IMAGES, images)
    views = torch.cat([torch.arange(count), images + torch.arange(count)])
    return matrix[views][:, views]


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plain(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _to_png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
