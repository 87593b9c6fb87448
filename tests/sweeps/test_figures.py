"""Plots of ablations and sweeps, by the lines that they draw."""

import pytest

from pcfrl_lightning.figures.ablation import ablation_figure
from pcfrl_lightning.figures.parallel_coordinates import parallel_coordinates


def test_a_curve_goes_through_the_means_in_the_order_of_the_numbers():
    values = {"10": {0: 3.0, 1: 5.0}, "2": {0: 1.0}, "PCL": {0: 2.5}, "5": {}}
    (axes,) = ablation_figure(values, ["PCL", "10", "2", "5"], "accuracy, %", "alpha", "title").axes
    curve = axes.get_lines()[0]
    assert curve.get_xydata().tolist() == [[2.0, 1.0], [10.0, 4.0]]
    assert [line.get_ydata()[0] for line in axes.get_lines() if line.get_label() == "PCL"] == [2.5]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("alpha", "accuracy, %")


def test_variants_without_a_number_have_a_row_each_in_the_order_of_the_file():
    values = {"PCL": {0: 1.0, 1: 2.0}, "top-1": {0: 4.0}}
    (axes,) = ablation_figure(values, ["top-1", "PCL", "never run"], "accuracy", None, "title").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["top-1", "PCL"]
    points = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_marker() == "o"]
    assert points == [[[4.0, 0.0]], [[1.0, 1.0], [2.0, 1.0]]]


def test_axes_of_a_sweep_are_scaled_each_by_itself():
    points = [{"alpha": 10.0, "kind": "b", "accuracy": 0.9}, {"alpha": 0.0, "kind": "a", "accuracy": 0.4}]
    points += [{"alpha": 2.5, "kind": "a", "accuracy": 0.65}]
    (axes,) = parallel_coordinates(points, True, "title").axes
    lines = [line.get_ydata().tolist() for line in axes.get_lines() if len(line.get_ydata()) == 3]
    assert lines[::-1] == [pytest.approx([1, 1, 1]), pytest.approx([0, 0, 0]), pytest.approx([0.25, 0, 0.5])]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["alpha", "kind", "accuracy"]
    assert {text.get_text() for text in axes.texts} >= {"10", "0", "a", "b", "0.9", "0.4"}


def test_one_trial_is_enough_for_a_plot():
    assert parallel_coordinates([{"alpha": 1, "accuracy": 0.5}], False, "title").axes
