"""Draw benchmarks/results/fer2013/curves.png from the logs beside it: python benchmarks/plot_fer2013.py."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

FOLDER = Path(__file__).parent / "results" / "fer2013"
METHODS = {"pcfrl_delayed": "PCFRL, delayed", "pcl": "PCL", "pcfrl": "PCFRL, adaptive"}
PANELS = {
    "online monitor: linear accuracy, PublicTest": "monitor/linear_accuracy",
    "reconstruction, Eq. 1": "train/reconstruction_epoch",
    "face contrast, Eq. 6": "train/face/loss_epoch",
    "pose contrast, Eq. 6": "train/pose/loss_epoch",
    "calibrated anchors of 256 (face)": "train/face/calibrated_epoch",
    "calibrated anchors of 256 (pose)": "train/pose/calibrated_epoch",
}


def rows_of(path: Path, key: str) -> list[dict[str, str]]:
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row[key]]


def draw(axis: Axes, title: str, key: str, paths: dict[str, Path]) -> None:
    for method, label in METHODS.items():
        rows = [row for row in rows_of(paths[method], key) if row.get("method", method) in (method, "untrained")]
        images = [float(row["images_seen"]) / 1000 for row in rows]
        axis.plot(images, [float(row[key]) for row in rows], label=label, marker=".", linewidth=1)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("thousand images seen")
    axis.grid(alpha=0.3)


def main() -> None:
    figure, axes = plt.subplots(2, 4, figsize=(16, 6), constrained_layout=True)
    probes = dict.fromkeys(METHODS, FOLDER / "probe_curve.csv")
    logs = {method: FOLDER / method / "pretrain_epochs.csv" for method in METHODS}
    draw(axes.flat[0], "the probe's accuracy, PrivateTest", "accuracy", probes)
    for axis, (title, key) in zip(list(axes.flat)[1:], PANELS.items(), strict=False):
        draw(axis, title, key, logs)
    axes.flat[7].axis("off")
    axes.flat[7].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
    figure.savefig(FOLDER / "curves.png", dpi=80)


if __name__ == "__main__":
    main()
