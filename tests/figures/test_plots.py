"""What the plots show: the numbers that were given, where and as they should be."""

import numpy as np
import pytest
import torch

from pcfrl_lightning.figures import style
from pcfrl_lightning.figures.ablation import ablation_figure
from pcfrl_lightning.figures.alignment import alignment_map, pair_scores, row_maxima
from pcfrl_lightning.figures.curves import interval_plot, training_curve
from pcfrl_lightning.figures.faces import RIGHT, WRONG, Partner, face_grid, partner_sheet
from pcfrl_lightning.figures.feature_map import OTHERS, class_maps, value_maps
from pcfrl_lightning.figures.parallel_coordinates import parallel_coordinates
from pcfrl_lightning.figures.probe_plots import confusion_matrix, error_by_yaw, roc


def lines(axes):
    return {str(line.get_label()): np.stack(line.get_data(), 1).tolist() for line in axes.lines}


def test_cells_of_a_confusion_matrix_are_percent_of_the_true_class():
    axes, bar = confusion_matrix([[3, 1], [0, 0]], ["a", "b"], "t").axes
    cells = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert cells == {(0, 0): ("75", "black"), (1, 0): ("25", "white"), (0, 1): ("0", "white"), (1, 1): ("0", "white")}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.images[0].get_clim() == (0, 100)
    assert bar.get_ylabel() == "% of the true class"
    assert not confusion_matrix(np.eye(13).tolist(), list("abcdefghijklm"), "t").axes[0].texts


def test_rates_of_a_roc_are_percent():
    (axes,) = roc({"a": ([0.0, 0.5], [0.25, 1.0])}).axes
    assert lines(axes) == {"chance": [[0, 0], [100, 100]], "a": [[0, 25], [50, 100]]}


def test_errors_stand_in_the_middle_of_their_band():
    (axes,) = error_by_yaw({"a": [5.0, None, 7.0]}, [-999, -30, 0, 30]).axes
    (shown,) = axes.lines
    assert shown.get_xdata().tolist() == [-514.5, -15, 15]
    assert shown.get_ydata()[[0, 2]].tolist() == [5, 7]
    assert np.isnan(shown.get_ydata()[1])
    assert axes.get_xticks().tolist() == [-30, 0, 30]
    assert axes.get_ylim()[0] == 0


def test_a_curve_has_marks_where_points_are_few_and_whole_epochs():
    (axes,) = training_curve({"a": ([1, 2], [3, 4]), "": (range(13), range(13))}, "t", "loss").axes
    assert [line.get_marker() for line in axes.lines] == ["o", "None"]
    assert lines(axes)["a"] == [[1, 3], [2, 4]]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 2


def test_intervals_reach_from_low_to_high_the_first_on_top():
    (axes,) = interval_plot({"a": (1.0, 0.5, 2.0), "b": (3.0, 3.0, 3.0)}, "x", "t").axes
    ends = [[point[0] for point in bar.get_segments()[0]] for bar in axes.collections]
    assert ends == [[0.5, 2.0], [3.0, 3.0]]
    assert axes.get_ylim() == (1.5, -0.5)


def test_an_ablation_shows_means_and_seeds():
    values = {"b": {0: 1.0, 1: 3.0}, "a": {0: 5.0}, "absent": {}}
    (axes,) = ablation_figure(values, ["a", "b", "absent"], "accuracy", None, "t").axes
    points = [np.stack(line.get_data(), 1).tolist() for line in axes.lines]
    assert points == [[[5, 0]], [[5, 0]], [[1, 1], [3, 1]], [[2, 1]], [[5, 0], [5, 1]]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    (axes,) = ablation_figure(values | {"10": {0: 4.0}, "2": {0: 6.0}}, ["10", "2", "b"], "accuracy", "alpha", "t").axes
    assert np.stack(axes.lines[0].get_data(), 1).tolist() == [[2, 6], [10, 4]]
    assert lines(axes)["b"] == [[0, 2], [1, 2]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("alpha", "accuracy")


@pytest.mark.parametrize("larger", [True, False])
def test_the_best_trial_is_the_lightest_line(larger):
    points = [{"optimizer.lr": 0.1, "name": "b", "score": 3.0}, {"optimizer.lr": 0.3, "name": "a", "score": 1.0}]
    (axes,) = parallel_coordinates(points, larger, "t").axes
    second, first = axes.lines[:2]
    assert list(first.get_ydata()) == [0, 1, 1]
    assert list(second.get_ydata()) == [1, 0, 0]
    assert (sum(first.get_color()[:3]) > sum(second.get_color()[:3])) == larger
    assert [label.get_text() for label in axes.get_xticklabels()] == ["optimizer.lr", "name", "score"]
    assert {text.get_text() for text in axes.texts} == {"0.1", "0.3", "a", "b", "1", "3"}


def test_the_diagonal_of_pair_alignment_is_not_shown_and_t_is_marked():
    matrix = torch.arange(16.0).reshape(4, 4)
    heat, bar = alignment_map(matrix, 14.0, "PA").axes
    shown = heat.images[0].get_array()
    assert np.isnan(np.diag(np.asarray(shown.filled(np.nan)))).all()
    assert shown[0, 1] == 1
    assert heat.images[0].get_clim()[1] == 14.0
    assert [line.get_ydata()[0] for line in bar.lines] == [14.0, 14.0]
    assert matrix[1, 1] == 5  # what was given is left as it is


def test_row_maxima_have_one_t_or_one_for_each_branch():
    found = {"pose": torch.tensor([0.0, 1.0, 1.0]), "face": torch.tensor([2.0])}
    (axes,) = row_maxima(found, {"pose": 1.5, "face": 1.5}).axes
    assert lines(axes)["T"][0][0] == 1.5
    assert axes.get_title(loc="left") == "Best PA of each anchor, T = 1.50"
    (axes,) = row_maxima(found, {"pose": 1.0, "face": 2.0}).axes
    assert {name: data[0][0] for name, data in lines(axes).items()} == {"T pose 1.00": 1.0, "T face 2.00": 2.0}
    (axes,) = row_maxima(found, {"pose": float("inf"), "face": float("inf")}).axes
    assert not axes.lines
    (axes,) = pair_scores(found).axes
    assert axes.get_yscale() == "log"


def test_partners_have_a_frame_where_the_labels_are_known():
    image = torch.full((3, 4, 4), 0.5)
    partners = [Partner(image, "x", right) for right in (True, False, None)]
    figure = partner_sheet([image] * 3, {"by PA": partners})
    frames = [axes.spines["left"] for axes in figure.axes[1::2]]
    assert [frame.get_visible() for frame in frames] == [True, True, False]
    assert [frame.get_edgecolor() for frame in frames[:2]] == [
        tuple(style.matplotlib.colors.to_rgba(c)) for c in (RIGHT, WRONG)
    ]
    assert frames[0].get_linestyle() != frames[1].get_linestyle()
    grid = face_grid({"a": torch.stack([image, 2 * image]), "b": torch.stack([-image, image])})
    assert [axes.images[0].get_array()[0, 0, 0] for axes in grid.axes] == [128, 255, 0, 128]
    assert [axes.get_title() for axes in grid.axes] == ["a", "", "b", ""]


def test_maps_colour_the_known_classes_and_put_0_in_the_middle():
    places = np.arange(8.0).reshape(4, 2)
    figure = class_maps({"a": places, "b": places, "c": places}, np.array([0, 1, 2, 1]), ["x", "y"], "t", "others")
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]
    rest, first, second = figure.axes[0].collections
    assert rest.get_offsets().tolist() == [[4, 5]]
    assert first.get_offsets().tolist() == [[0, 1]]
    assert second.get_offsets().tolist() == [[2, 3], [6, 7]]
    assert tuple(rest.get_facecolor()[0]) == tuple(style.matplotlib.colors.to_rgba(OTHERS))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["others", "x", "y"]
    axes, bar = value_maps({"a": places}, np.array([-3.0, 1.0, 2.0, 0.0]), "t", "degrees").axes
    assert axes.collections[0].get_clim() == (-3, 3)
    assert bar.get_xlabel() == "degrees"
