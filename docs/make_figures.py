"""Figures of the README, from the weights of the package, of docs/calibration.md, from a short FER-2013 run, and of
docs/scaling.md.

python docs/make_figures.py neighbours pretrained:synthetic --query 17
python docs/make_figures.py row-maxima CKPT FER2013_ROOT
python docs/make_figures.py device-views
python docs/make_figures.py feedback "LABEL=RUN/metrics.csv" "LABEL=RUN/metrics.csv" ...
"""

import argparse
import csv
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
sys.path.append(str(Path(__file__).parents[1] / "tests"))

import matplotlib
import torch
import yaml
from jsonargparse import ArgumentParser
from PIL import Image
from torch import Tensor

from drawn import Drawn
from pcfrl_lightning.cli import neighbours
from pcfrl_lightning.data import FER2013, AlbumentationsViews, DeviceViews, SyntheticFaces
from pcfrl_lightning.data.loaders import device_views
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.data.views.batched import draws
from pcfrl_lightning.functional import Neighborhood, pair_alignment, top_k_calibration
from pcfrl_lightning.networks import load_encoder

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
FIGURES = HERE / "figures"
COLOURS = {"face": "#1f77b4", "pose": "#d95f02"}
IMAGES = 256


def main() -> None:
    """Draw one figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    sheet = kinds.add_parser("neighbours", help="the nearest rendered faces by F_s, F_f and F_p")
    sheet.add_argument("checkpoint", help="any encoder")
    sheet.add_argument("--query", type=int, nargs="+", default=[4], metavar="NUMBER", help="which faces (default 4)")
    histogram = kinds.add_parser("row-maxima", help="histograms of the row maxima of PA, sum and mean")
    histogram.add_argument("checkpoint")
    histogram.add_argument("root")
    kinds.add_parser("device-views", help="views of the workers and of the device, made by the same random numbers")
    curves = kinds.add_parser("feedback", help="mean cosine of negatives while training runs")
    curves.add_argument("runs", nargs="+", metavar="LABEL=metrics.csv")
    options = parser.parse_args()
    FIGURES.mkdir(exist_ok=True)
    if options.kind == "neighbours":
        draw_neighbours(options.checkpoint, options.query, FIGURES / "neighbours.png")
    elif options.kind == "row-maxima":
        draw_row_maxima(projections(options.checkpoint, options.root), FIGURES / "row_maxima.png")
    elif options.kind == "device-views":
        draw_device_views(FIGURES / "device_views.png")
    else:
        runs = [run.split("=", 1) for run in options.runs]
        draw_feedback({label: Path(path) for label, path in runs}, FIGURES / "feedback.png")


def draw_neighbours(checkpoint: str, queries: list[int], path: Path) -> None:
    """The sheet of `pcfrl neighbours` for faces of the demo's test split, people who are not in its training images."""
    faces = SyntheticFaces(image_size=48, render_size=96).build()["test"]
    with TemporaryDirectory() as temporary:
        folder, files = Path(temporary) / "rendered faces", []
        folder.mkdir()
        for number in range(len(faces)):
            yaw, person = float(faces.labels["pose"][number, 0]), int(faces.labels["identity"][number])
            files.append(folder / f"{number} p{person % 100} yaw {yaw:+.0f}.png")
            Image.fromarray(faces.source.read(number)).save(files[-1])
        options = ["--query", *(str(files[number]) for number in queries), "--count", "6", "--out", str(path)]
        neighbours.main([checkpoint, str(folder), *options, "--image-size", "48"])
    with Image.open(path) as sheet:
        below_title = sheet.crop((0, 75, *sheet.size))
    below_title.quantize(128).save(path, optimize=True)


@torch.no_grad()
def projections(checkpoint: str, root: str) -> dict[str, Tensor]:
    """z_f and z_p, (2 * 256, 512) each, of one training batch; batch norm as in training.

    The views are those of configs/experiment/cpu.yaml.
    """
    recipe = yaml.safe_load((HERE.parent / "configs/experiment/cpu.yaml").read_text())
    network = load_encoder(checkpoint).train()
    parser = ArgumentParser()
    parser.add_subclass_arguments(Views, "views")
    views = parser.instantiate_classes(parser.parse_object({"views": recipe["data"]["init_args"]["views"]})).views
    data = FER2013(root, views=views, image_size=network.image_size, batch_size=IMAGES, num_workers=0)
    batch = device_views(views, next(iter(data.train_dataloader())))
    face = network.encode(torch.cat([batch["face_1"], batch["face_2"]])).f_f
    pose = network.encode(torch.cat([batch["pose_1"], batch["pose_2"]])).f_p
    return {"face": network.project_face(face), "pose": network.project_pose(pose)}


def best_scores(features: Tensor, neighborhood: Neighborhood) -> Tensor:
    """Row maxima of PA (alpha = 10) over the views of other images, (2N, d) -> (2N,)."""
    image = torch.arange(len(features)) % (len(features) // 2)
    score, others = pair_alignment(features, 10.0, neighborhood), image[:, None] != image[None, :]
    return top_k_calibration(score, others, k=1).score.squeeze(1)


def draw_row_maxima(features: dict[str, Tensor], path: Path) -> None:
    """Two panels: Eq. 5 as a sum, and as a mean."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), constrained_layout=True)
    readings: tuple[Neighborhood, ...] = ("sum", "mean")
    for axis, neighborhood in zip(axes, readings, strict=True):
        for name, value in features.items():
            scores = best_scores(value, neighborhood)
            reached = 100 * (scores >= 1).float().mean()
            print(
                f"{neighborhood:4} {name}: mean {scores.mean():.2f}, range {scores.min():.2f} .. {scores.max():.2f}, "
                f"{reached:.1f} % of {len(scores)} anchors reach T = 1"
            )
            axis.hist(scores.numpy(), bins=40, color=COLOURS[name], alpha=0.65, label=f"{name}, {reached:.0f} % ≥ 1")
        axis.axvline(1.0, color="black", linewidth=1, linestyle="--")
        axis.set(xlabel="best PA of an anchor", ylabel="anchors", title=f"Eq. 5 as a {neighborhood}", xlim=(0, None))
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)


def draw_device_views(path: Path, count: int = 4, seed: int = 1) -> None:
    """The six views of rendered faces by `AlbumentationsViews` and, below them, by `DeviceViews`, turned up to 15
    degrees."""
    faces = SyntheticFaces(image_size=64, render_size=128).build()["test"]
    images = [faces.image(9 * number) for number in range(count)]
    device, workers = DeviceViews(64, rotation=15.0), AlbumentationsViews(64, rotation=15.0)
    batch, generator = device.collate([{"image": image} for image in images]), torch.Generator()
    views = device.batch(batch, torch.zeros(count, 2).long(), generator.manual_seed(seed))
    numbers = torch.rand(count, draws.NUMBERS, generator=generator.manual_seed(seed)).tolist()
    figure, axes = plt.subplots(2 * count, 6, figsize=(7.2, 2.4 * count), layout="constrained")
    for place, (image, row) in enumerate(zip(images, numbers, strict=True)):
        rng: Any = Drawn(row, device.appearance)
        pairs = zip(workers.sample(image, rng).items(), views.values(), strict=True)
        for column, ((name, of_workers), of_device) in enumerate(pairs):
            axes[2 * place, column].imshow(of_workers)
            axes[2 * place + 1, column].imshow(of_device[place].permute(1, 2, 0).numpy())
            axes[0, column].set_title(name, fontsize=9)
        axes[2 * place, 0].set_ylabel("workers", fontsize=8)
        axes[2 * place + 1, 0].set_ylabel("device", fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=90)
    with Image.open(path) as sheet:
        small = sheet.convert("RGB").quantize(128)
    small.save(path, optimize=True)


def read_column(path: Path, column: str) -> tuple[list[int], list[float]]:
    """Steps and values of one column of a CSVLogger file."""
    with path.open(newline="") as file:
        rows: list[dict[str, Any]] = [row for row in csv.DictReader(file) if row.get(column)]
    return [int(row["step"]) for row in rows], [float(row[column]) for row in rows]


def draw_feedback(runs: dict[str, Path], path: Path) -> None:
    """Mean cosine of the negatives of both branches against steps, a line per run."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), constrained_layout=True, sharey=True)
    for axis, branch in zip(axes, COLOURS, strict=True):
        for label, file in runs.items():
            axis.plot(*read_column(file, f"train/{branch}/negative_cosine_step"), label=label, linewidth=1.5)
        axis.axhline(0.0, color="black", linewidth=0.5)
        axis.set(xlabel="step", title=f"{branch} branch")
    axes[0].set_ylabel("mean cosine of negatives")
    axes[1].legend(frameon=False)  # the pose panel has room
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
