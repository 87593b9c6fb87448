"""Draw benchmarks/results/fer2013/curves.png from the epoch logs beside it: python benchmarks/plot_fer2013.py."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent / "results" / "fer2013"
METHODS = {"pcfrl_delayed": "PCFRL, delayed", "pcfrl": "PCFRL, adaptive", "pcl": "PCL"}
PANELS = {
    "linear accuracy on PublicTest (online monitor)": ["monitor/linear_accuracy"],
    "face contrast, Eq. 6": ["train/face/loss_epoch"],
    "pose contrast, Eq. 6": ["train/pose/loss_epoch"],
    "reconstruction, Eq. 1": ["train/reconstruction_epoch"],
    "calibrated anchors of 256 (face)": ["train/face/calibrated_epoch"],
    "calibrated anchors of 256 (pose)": ["train/pose/calibrated_epoch"],
}


def main() -> None:
    figure, axes = plt.subplots(2, 3, figsize=(12, 6), constrained_layout=True)
    for axis, (title, (key,)) in zip(axes.flat, PANELS.items(), strict=True):
        for method, label in METHODS.items():
            path = FOLDER / method / "pretrain_epochs.csv"
            rows = [row for row in csv.DictReader(path.open()) if row[key]]
            images = [float(row["images_seen"]) / 1000 for row in rows]
            axis.plot(images, [float(row[key]) for row in rows], label=label, marker=".", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("thousand images seen")
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    figure.savefig(FOLDER / "curves.png", dpi=80)


if __name__ == "__main__":
    main()
