"""Sampling: ranges, determinism, labels that are not functions of each other."""

import numpy as np
import pytest

from pcfrl_lightning.synthetic import ACTION_UNITS, EXPRESSIONS, sample_face
from pcfrl_lightning.synthetic.expressions import RECIPES, sample_action_units
from pcfrl_lightning.synthetic.parameters import sample_identity


@pytest.fixture(scope="module")
def many():
    return [sample_face(0, index, index % 40) for index in range(800)]


def test_order_of_action_units_and_expressions_is_that_of_disfa_and_fer2013():
    assert ACTION_UNITS == (1, 2, 4, 6, 9, 12, 25, 26)
    assert EXPRESSIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_sampled_labels_are_in_range_and_fill_it(many):
    pose = np.array([face.pose for face in many])
    assert (np.abs(pose) <= [60, 30, 20]).all()
    assert (pose.max(0) > [55, 27, 18]).all()
    assert (pose.min(0) < [-55, -27, -18]).all()
    units = np.array([face.action_units for face in many])
    assert units.shape == (800, 8)
    assert set(np.unique(units)) == {0, 1, 2, 3, 4, 5}
    assert {face.expression for face in many} == set(range(7))


def test_pose_range_is_respected():
    poses = np.array([sample_face(0, index, 0, (10.0, 5.0, 0.0)).pose for index in range(50)])
    assert (np.abs(poses) <= [10, 5, 0]).all()


def test_same_numbers_give_the_same_face_whatever_was_drawn_before():
    first = sample_face(3, 17, 5)
    sample_face(3, 18, 6)
    assert sample_face(3, 17, 5) == first
    assert sample_face(4, 17, 5) != first
    assert sample_face(3, 18, 5) != first


def test_a_person_keeps_face_and_changes_everything_else():
    one, two = sample_face(0, 1, 9), sample_face(0, 2, 9)
    assert one.identity == two.identity == sample_identity(0, 9)
    assert one.scene != two.scene
    assert one.pose != two.pose


def test_people_differ():
    people = [sample_identity(0, number) for number in range(100)]
    assert len({person.shape for person in people}) == 100
    assert len({person.hair_style for person in people}) == 8


@pytest.mark.parametrize("expression", range(7))
def test_action_units_follow_the_recipe_but_are_not_determined_by_the_expression(expression):
    rng = np.random.default_rng(0)
    drawn = np.array([sample_action_units(expression, rng) for _ in range(300)])
    recipe = RECIPES[EXPRESSIONS[expression]]
    for column, unit in enumerate(ACTION_UNITS):
        if recipe.get(unit, (0, 0))[0] >= 4:
            assert drawn[:, column].min() >= 2, "a leading unit is always visible"
        elif unit not in recipe and unit != 25:
            assert 0 < (drawn[:, column] > 0).mean() < 0.25, "other units come from the noise alone"
    assert len(np.unique(drawn, axis=0)) > 10


def test_a_dropped_jaw_parts_the_lips(many):
    units = np.array([face.action_units for face in many])
    assert (units[units[:, 7] > 0, 6] > 0).all()


def test_base_rate_of_equal_poses_is_the_documented_one():
    pose = np.array([sample_face(0, index, 0).pose for index in range(1500)])
    near = (np.abs(pose[:, None] - pose[None]) <= 10).all(-1)
    rate = (near.sum() - len(pose)) / (len(pose) * (len(pose) - 1))
    expected = np.prod([1 - (1 - 10 / (2 * limit)) ** 2 for limit in (60, 30, 20)])
    assert expected == pytest.approx(0.0214, abs=1e-4)
    assert rate == pytest.approx(expected, rel=0.15)
