"""Sweep files in W&B's format, and the searches of the local backend."""

import itertools
import json

import numpy as np
import pytest
import yaml

from pcfrl_lightning.cli.configs import FOLDER
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.sweeps import runner
from pcfrl_lightning.sweeps.ablation import read_ablation
from pcfrl_lightning.sweeps.parameters import grid, random, read_parameter
from pcfrl_lightning.sweeps.search import Search
from pcfrl_lightning.sweeps.sweep import flags, read_sweep
from pcfrl_lightning.sweeps.trial import begin

jsonschema = pytest.importorskip("jsonschema")

NUMBER = {"type": "number"}
PARAMETERS = {
    "values": {"values": {"type": "array", "minItems": 1}, "probabilities": {"type": "array", "items": NUMBER}},
    "value": {"value": {}},
    "range": {
        "min": NUMBER,
        "max": NUMBER,
        "q": NUMBER,
        "distribution": {"enum": ["uniform", "int_uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values"]},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["method", "parameters"],
    "properties": {
        **{key: {"type": "string"} for key in ("name", "description", "project", "entity", "program")},
        "method": {"enum": ["grid", "random", "bayes"]},
        "run_cap": {"type": "integer", "exclusiveMinimum": 0},
        "command": {"type": "array"},
        "metric": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "goal": {"enum": ["minimize", "maximize"]}},
        },
        "early_terminate": {
            "type": "object",
            "required": ["type"],
            "anyOf": [{"required": ["min_iter"]}, {"required": ["max_iter", "s"]}],
            "properties": {
                "type": {"enum": ["hyperband"]},
                "min_iter": {"type": "integer", "minimum": 1},
                "max_iter": {"type": "integer"},
                "s": NUMBER,
                "eta": {"type": "number", "exclusiveMinimum": 1},
                "strict": {"type": "boolean"},
            },
            "additionalProperties": False,
        },
        "parameters": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "oneOf": [
                    {
                        "type": "object",
                        "properties": each,
                        "required": [next(iter(each))],
                        "additionalProperties": False,
                    }
                    for each in PARAMETERS.values()
                ]
            },
        },
    },
    "additionalProperties": False,
}
"""What W&B documents of its sweep configuration, as far as our files use it; its own schema is in its package `sweeps`,
whose NumPy is too old to be installed beside ours."""

SMALL = """
method: {method}
metric: {{name: monitor/knn_accuracy, goal: maximize}}
parameters:
  quality: {space}
command: [pcfrl, fit, "${{args}}"]
"""


@pytest.fixture
def sweep(tmp_path):
    """A sweep over ``quality`` of the stand-in."""

    def make(kind, space, **more):
        path = tmp_path / "sweep.yaml"
        content = yaml.safe_load(SMALL.format(method=kind, space="{}"))
        content["parameters"]["quality"] = space
        path.write_text(yaml.safe_dump({**content, **more}))
        return read_sweep(path)

    return make


@pytest.fixture
def searched(standin, tmp_path):
    """Run a search to its end, or until ``stop`` outcomes are known; gives its outcomes."""

    def call(search, stop=None, jobs=1):
        settings = runner.Settings([search.sweep.metric], jobs)
        outcomes = []
        for outcome in runner.run_trials(search.following, settings, lambda text: None, search.watch):
            outcome.write()
            search.tell(outcome)
            outcomes.append(outcome)
            if len(outcomes) == stop:
                break
        return outcomes

    return call


@pytest.mark.parametrize("path", sorted((FOLDER / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_files_have_the_form_that_wandb_documents(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), SCHEMA)


@pytest.mark.parametrize("path", sorted((FOLDER / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_agent_of_wandb_would_run_the_command_line_of_a_local_trial(path, tmp_path, monkeypatch):
    """The functions with which W&B's agent makes a command line, on the values of a local trial."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    monkeypatch.setenv("FACES", "somewhere/faces")
    sweep = read_sweep(path, ["--trainer.max_epochs=3"])
    values = {parameter.key: parameter.example for parameter in sweep.parameters}
    words = utils.create_sweep_command(list(sweep.content["command"]))
    swept = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    command = list(itertools.chain(*(swept["args"] if word == "${args}" else [word] for word in words)))
    assert command == ["pcfrl", "fit", *sweep.trial(0, values, tmp_path).arguments]
    assert "--data.root=somewhere/faces" in command
    assert command.index("--trainer.max_epochs=3") < command.index(flags(values)[0])


def test_a_grid_is_every_combination_in_order(sweep, tmp_path):
    parameters = [read_parameter("a", {"values": [1, 2]}), read_parameter("b", {"min": 3, "max": 5})]
    parameters += [
        read_parameter("c", {"value": "x"}),
        read_parameter("d", {"min": 0, "max": 0.3, "distribution": "q_uniform", "q": 0.1}),
    ]
    expected = [(a, b, "x", d) for a in (1, 2) for b in (3, 4, 5) for d in (0.0, 0.1, 0.2, 0.3)]
    assert [tuple(point.values()) for point in grid(parameters)] == expected
    with pytest.raises(UsageError, match="a grid needs values, not the distribution uniform"):
        grid([read_parameter("a", {"min": 0.0, "max": 1.0})])


def test_random_values_depend_on_seed_and_number_alone():
    parameters = [
        read_parameter("a", {"min": 0.0, "max": 2.0}),
        read_parameter("b", {"distribution": "log_uniform_values", "min": 0.1, "max": 10.0}),
        read_parameter("c", {"values": ["x", "y"], "probabilities": [0.9, 0.1]}),
        read_parameter("d", {"min": 1, "max": 3}),
        read_parameter("e", {"distribution": "normal", "mu": 5, "sigma": 0.1}),
    ]
    first, again = ([next(values) for _ in range(400)] for values in (random(parameters, 1), random(parameters, 1)))
    assert first == again
    assert first != [next(values) for values in [random(parameters, 2)] for _ in range(400)]
    drawn = {key: np.array([point[key] for point in first]) for key in "abcde"}
    assert 0 <= drawn["a"].min() < 0.1 < 1.9 < drawn["a"].max() <= 2
    assert np.median(drawn["b"]) == pytest.approx(1.0, rel=0.3)  # of the logarithm; of the value it were 5
    assert 0.8 < (drawn["c"] == "x").mean() < 0.97
    assert set(drawn["d"]) == {1, 2, 3}
    assert drawn["e"].mean() == pytest.approx(5, abs=0.05)


def test_multiples_are_between_the_ends(sweep, tmp_path):
    """By each method, of a whole q as whole numbers; also where there are too many for a list."""
    content = {"distribution": "q_uniform", "min": 10, "max": 100, "q": 32}
    draws = random([read_parameter("a", content)], 0)
    assert {str(next(draws)["a"]) for _ in range(50)} == {"32", "64", "96"}
    assert grid([read_parameter("a", content)]) == [{"a": 32}, {"a": 64}, {"a": 96}]
    many = content | {"max": 1e12, "q": 1e-3}
    assert 10 <= read_parameter("a", many).example <= 1e12
    pytest.importorskip("optuna")
    search = Search(sweep("bayes", content), tmp_path, 10)
    assert {str(search.following().values["quality"]) for _ in range(10)} <= {"32", "64", "96"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"valeus": [1]}, "uniform has no valeus"),
        ({"min": 2, "max": 1}, "min must be below max, got 2 and 1"),
        ({"values": []}, "values is empty"),
        ({"values": [1, 2], "probabilities": [0.5]}, "probabilities must be one for each"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "needs min > 0"),
        ({"distribution": "unifrom", "min": 0, "max": 1}, "unifrom is not known .*; did you mean uniform"),
        ({"distribution": "uniform", "min": 0}, "lacks max"),
        (3, "must be a mapping such as"),
        ({"values": 3}, "values must be a list, got 3"),
        ({"values": "ab"}, "values must be a list, got 'ab'"),
        ({"values": [1, 2], "probabilities": 3}, "probabilities must be one for each"),
        ({"values": [1, 2], "probabilities": [1.5, -0.5]}, "probabilities must be one for each .* at least 0"),
        ({"min": 0.0, "max": float("nan")}, "min, max must be numbers"),
        ({"min": 0.0, "max": float("inf")}, "min, max must be numbers"),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.9}, "no multiple of q 1 lies from 0.1 to 0.9"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "int_uniform needs whole numbers, got 0.5 and 2"),
    ],
)
def test_wrong_parameters_are_named(content, message):
    with pytest.raises(UsageError, match=rf"parameters\.model\.x:? .*{message}"):
        read_parameter("model.x", content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bayesian"}, "method must be grid, random or bayes"),
        ({"command": ["python", "train.py", "${args}"]}, "command must begin with pcfrl and fit and end with"),
        ({"metrc": {}}, "unknown key 'metrc'; did you mean metric"),
        ({"early_terminate": {"type": "median"}}, "early_terminate must be of type hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter >= 1"),
        ({"early_terminate": "hyperband"}, "sweep.yaml: early_terminate must be a mapping, got 'hyperband'"),
        ({"early_terminate": {"type": "hyperband", "max_iter": [9]}}, "min_iter, max_iter, s and eta must be whole"),
        ({"metric": "monitor/x"}, "sweep.yaml: metric must be a mapping, got 'monitor/x'"),
        ({"metric": {"name": 5}}, "metric 5: neither a column"),
        ({"parameters": ["x"]}, "sweep.yaml: parameters must be a mapping"),
        ({"command": "pcfrl fit ${args}"}, "sweep.yaml: command must be a list"),
        ({"run_cap": "all"}, "sweep.yaml: run_cap must be a whole number, got 'all'"),
        ({"run_cap": -1}, "sweep.yaml: run_cap must be at least 1, got -1"),
        ({"run_cap": 0}, "sweep.yaml: run_cap must be at least 1, got 0"),
        ({"metric": {"name": "rafbd", "goal": "maximize"}}, "did you mean rafdb"),
        ({"metric": {"name": "monitor/x", "goal": "max"}}, "the goal must be maximize or minimize"),
    ],
)
def test_wrong_files_are_named(sweep, change, message):
    with pytest.raises(UsageError, match=message):
        sweep("grid", {"values": [1]}, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"configs": "pcfrl:pretrain"}, "configs must be a list, got 'pcfrl:pretrain'"),
        ({"configs": [1]}, "configs must be a list of configs and key=value"),
        ({"metrics": ["monitor/x"]}, "metrics must be a mapping"),
        ({"metrics": {5: "maximize"}}, "metric 5: neither a column"),
        ({"variants": ["a"]}, "variants must be a mapping"),
        ({"variants": {"a": None}}, "variants.a must be a list of configs and key=value"),
        ({"paper": {"RAF-DB": 5}}, "paper.RAF-DB must be a mapping of variants and numbers, got 5"),
        ({"paper": {"RAF-DB": {"a": "83 %"}}}, "paper.RAF-DB must be a mapping of variants and numbers"),
    ],
)
def test_wrong_files_of_an_ablation_are_named(tmp_path, change, message):
    content = {"title": "t", "configs": ["a.yaml"], "metrics": {"monitor/x": "maximize"}, "variants": {"a": []}}
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump(content | {"paper": None, "axis": None}))
    assert read_ablation(path).paper == {}
    path.write_text(yaml.safe_dump(content | change))
    with pytest.raises(UsageError, match=message):
        read_ablation(path)


def test_a_grid_goes_on_after_an_interruption(sweep, searched, tmp_path):
    file = sweep("grid", {"values": [0.2, 0.9, 0.4]})
    first = searched(Search(file, tmp_path / "runs"), stop=2)
    assert [outcome.trial.values for outcome in first] == [{"quality": 0.2}, {"quality": 0.9}]
    found = searched(Search(file, tmp_path / "runs"))
    assert [outcome.values["monitor/knn_accuracy"] for outcome in found] == [0.2, 0.9, 0.4]
    logs = [(tmp_path / "runs" / f"00{number}" / "seed_0" / "log.txt").read_text() for number in range(3)]
    assert logs == ["fit from epoch 0\n"] * 3


def test_a_sweep_without_end_needs_a_count(sweep, tmp_path):
    with pytest.raises(UsageError, match="method random has no end: give --count, or run_cap"):
        Search(sweep("random", {"min": 0.0, "max": 1.0}), tmp_path)
    assert Search(sweep("random", {"min": 0.0, "max": 1.0}, run_cap=7), tmp_path).count == 7
    assert Search(sweep("random", {"min": 0.0, "max": 1.0}, run_cap=7), tmp_path, count=2).count == 2


def test_bayesian_optimisation_goes_on_with_what_it_knew(sweep, searched, tmp_path):
    pytest.importorskip("optuna")
    file = sweep("bayes", {"min": 0.0, "max": 1.0})
    search = Search(file, tmp_path / "runs", count=12)
    first = searched(search, stop=3)
    begun = tmp_path / "runs" / "003" / "seed_0"  # as a trial that was killed left it
    begun.mkdir(parents=True)
    (begun / "values.json").write_text(json.dumps({"quality": 0.123}))
    found = searched(Search(file, tmp_path / "runs", count=12))
    assert [outcome.trial.values for outcome in found[:3]] == [outcome.trial.values for outcome in first]
    assert found[3].trial.values == {"quality": 0.123}
    assert len(found) == 12
    qualities = [outcome.trial.values["quality"] for outcome in found]
    assert np.mean(qualities[10:]) > np.mean(qualities[:10])  # what comes after the random start is better


def test_damaged_values_of_a_trial_are_named(sweep, tmp_path):
    search = Search(sweep("bayes", {"min": 0.0, "max": 1.0}, run_cap=2), tmp_path)
    begin(search.following())
    (path,) = tmp_path.rglob("values.json")
    for content in ("{", "[1]"):
        path.write_text(content)
        with pytest.raises(UsageError, match=r"values.json holds no values of a trial \(.*\): remove that folder"):
            Search(sweep("bayes", {"min": 0.0, "max": 1.0}, run_cap=2), tmp_path).following()


def test_trials_of_another_space_are_refused(sweep, tmp_path):
    pytest.importorskip("optuna")
    begin(Search(sweep("bayes", {"values": [0.1, 0.2]}), tmp_path, 3).following())
    with pytest.raises(
        UsageError, match=r"trial 0 was begun by another sweep \(.* not in \(0.3, 0.4\).*\): give another --out"
    ):
        Search(sweep("bayes", {"values": [0.3, 0.4]}), tmp_path, 3).following()


def test_hyperband_ends_trials_that_do_worse(sweep, searched, tmp_path):
    pytest.importorskip("optuna")
    space = {"values": [0.9, 0.1, 0.11, 0.12, 0.13, 0.14]}
    stopping = {"type": "hyperband", "min_iter": 1, "eta": 2}
    file = sweep(
        "grid", space, early_terminate=stopping, command=["pcfrl", "fit", "--epochs=8", "--pause=0.05", "${args}"]
    )
    found = searched(Search(file, tmp_path / "runs"))
    states = [outcome.state for outcome in found]
    assert states[0] == "finished"
    assert "stopped" in states
    assert all(len(outcome.history) < 8 for outcome in found if outcome.state == "stopped")
    again = searched(Search(file, tmp_path / "runs"))
    assert [outcome.state for outcome in again] == states


def test_without_optuna_one_line_says_what_to_install(sweep, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"method bayes needs Optuna: pip install 'pcfrl-lightning\[sweep\]'"):
        Search(sweep("bayes", {"min": 0.0, "max": 1.0}), tmp_path, count=2)
    file = sweep("grid", {"values": [1]}, early_terminate={"type": "hyperband", "min_iter": 3})
    with pytest.raises(UsageError, match="early_terminate needs Optuna"):
        Search(file, tmp_path)
