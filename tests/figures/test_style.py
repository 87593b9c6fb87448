"""The common look of plots."""

import numpy as np
import torch
from PIL import Image

from pcfrl_lightning.figures import style
from pcfrl_lightning.figures.ablation import ablation_figure
from pcfrl_lightning.figures.alignment import alignment_map
from pcfrl_lightning.figures.curves import interval_plot, training_curve
from pcfrl_lightning.figures.feature_map import class_maps
from pcfrl_lightning.figures.parallel_coordinates import parallel_coordinates
from pcfrl_lightning.figures.probe_plots import confusion_matrix, error_by_yaw, roc


def test_both_files_are_written_and_reproducible(tmp_path):
    for folder in ("a", "b"):
        axes = style.plot("step", "loss", "falls")
        axes.plot([1, 2, 3], [3.0, 2.0, 1.0])
        style.save(style.figure_of(axes), tmp_path / folder / "loss.v1.png")
    png, svg = (tmp_path / "a" / f"loss.v1.{suffix}" for suffix in ("png", "svg"))
    assert Image.open(png).size == (828, 558)
    assert svg.read_text().lstrip().startswith("<?xml")
    assert [path.read_bytes() for path in (png, svg)] == [
        (tmp_path / "b" / path.name).read_bytes() for path in (png, svg)
    ]


def test_colours_of_the_branches_differ_in_grey():
    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    assert abs(lightness(style.POSE) - lightness(style.FACE)) > 50


def test_panels_beside_each_other():
    axes = style.plots(2, rows=2, sharey=True)
    assert len(axes) == 4
    assert tuple(style.figure_of(axes[0]).get_size_inches()) == (9.2, 6.2)


def test_names_of_the_user_are_no_formulas(tmp_path):
    name = r"price $\x$"  # as a formula, an error
    figures = [
        confusion_matrix([[1, 0], [0, 1]], [name, "b"], name),
        roc({name: ([0, 1], [0, 1])}),
        error_by_yaw({name: [1.0, 2.0]}, [-30, 0, 30]),
        training_curve({name: ([1, 2], [1, 2])}, "t", "y"),
        interval_plot({name: (1, 0, 2)}, "x", "t"),
        class_maps({"a": np.eye(2)}, np.array([0, 0]), [name], "t"),
        ablation_figure({name: {0: 1.0}, "b": {0: 2.0}}, [name, "b"], "accuracy", None, name),
        ablation_figure({name: {0: 1.0}, "1": {0: 2.0}}, [name, "1"], "accuracy", "alpha", name),
        parallel_coordinates([{name: name, "acc": 1.0}, {name: "b", "acc": 2.0}], True, name),
    ]
    for figure in figures:
        assert len(style.save(figure, tmp_path / "figure", 40)) == 2


def test_every_name_of_the_user_stands_in_the_legend(tmp_path):
    figure = training_curve({"_old": ([1, 2], [1, 2]), "not\udcff": ([1, 2], [2, 1])}, "t", "y")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_old", r"not\udcff"]
    assert len(style.save(figure, tmp_path / "figure", 40)) == 2
    classes = class_maps({"a": np.eye(2)}, np.array([0, 1]), ["_sad", "happy"], "t")
    ablation = ablation_figure({"_old": {0: 1.0}, "1": {0: 2.0}}, ["1", "_old"], "accuracy", "alpha", "t")
    for drawn, names in ((classes, {"_sad", "happy"}), (ablation, {"_old"})):
        assert names <= {text.get_text().strip() for text in drawn.legends[0].get_texts()}


def test_a_threshold_below_all_scores_leaves_room_for_the_map(recwarn):
    matrix = torch.linspace(10, 10.6, 64).reshape(8, 8)
    for threshold, title in ((1.0, "T = 1.00\n(below)"), (10.3, "T = 10.30"), (12.0, "T = 12.00"), (float("inf"), "")):
        figure = alignment_map(matrix, threshold, "PA")
        figure.draw_without_rendering()
        heat, bar = figure.axes
        assert bar.get_title() == title
        assert heat.get_tightbbox().x0 >= 0
        assert bar.get_tightbbox().x1 <= figure.bbox.x1
        assert bar.get_tightbbox().y1 <= figure.bbox.y1
    assert not recwarn.list
