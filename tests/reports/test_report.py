"""The page as text: escaping, verdicts, tables with the paper's rows, settings with intervals."""

import json

import numpy as np
import pytest
import torch
from markupsafe import escape

from pcfrl_lightning.cli.configs import FOLDER
from pcfrl_lightning.data import AlbumentationsViews, ArraySource, CorruptImage
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.figures import style
from pcfrl_lightning.methods import PCFRL
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.reports.build import page_of
from pcfrl_lightning.reports.content import Cell, Page, Picture, Section, Table
from pcfrl_lightning.reports.material import Faces, Material
from pcfrl_lightning.reports.measured import best_of, count_once, rows_of
from pcfrl_lightning.reports.paper import absent_lines, paper_section, printed
from pcfrl_lightning.reports.render import write_page
from pcfrl_lightning.reports.runs import Measured, Run, Study, read_probe, read_runs
from pcfrl_lightning.reports.sections.alignment import alignment_sections
from pcfrl_lightning.reports.sections.learned import headline, learned_section, verdict
from pcfrl_lightning.reports.sections.probes import probes_section
from pcfrl_lightning.reports.sections.separation import identity_verdict, separation_section
from pcfrl_lightning.reports.sections.separation import verdict as pose_verdict
from pcfrl_lightning.sweeps.ablation import read_ablation
from pcfrl_lightning.sweeps.metrics import metric
from pcfrl_lightning.sweeps.results import RESULTS, Description, ranked, read_description, read_results, write_results
from pcfrl_lightning.sweeps.trial import Outcome, Trial


def measured(task="fer2013", value=0.4, seed=0, weights="pretrained", feature="f_s", metric="accuracy", samples=3589):
    content = {"seed": seed, "dataset": task, "features": {"image_size": 100}, "splits": {"test": {"samples": samples}}}
    content |= {"protocol": "last epoch", "epochs": 300, "chosen_on": "val", "command": "pcfrl evaluate x"}
    return Measured(task, weights, feature, {metric: value}, content)


def text_of(page: Page, folder) -> tuple[str, str]:
    path = write_page(page, folder)
    return path.read_text(), path.with_suffix(".md").read_text()


def test_page_is_self_contained_and_escaped(tmp_path):
    axes = style.plot("x", "y", "t")
    axes.plot([0, 1])
    picture = Picture("curve", style.figure_of(axes), "a caption", 'a "p"')
    table = Table(["x|y", "z"], [["<b>", Cell("7", best=True)]], "shown")
    page = Page("A & B", "1 < 2", [Section("S", ["t"], ["p"], [table], {"how": {"command": "x"}}, [picture], ["none"])])
    html, markdown = text_of(page, tmp_path)
    for text in ("A & B", "1 < 2", "<b>"):
        assert str(escape(text)) in html
    assert "<b>7</b>" in html
    assert html.count("data:image/png;base64,") == 1
    assert "http" not in html
    assert "| x\\|y | z | \n| --- | ---: | \n" in markdown
    assert "| &lt;b> | **7** |" in markdown
    assert "](figures/curve.png)" in markdown
    assert (tmp_path / "figures" / "curve.svg").is_file()


def test_names_of_the_user_are_no_markdown(tmp_path):
    name = "_a_b_ **c** `d` <i>e</i> [f](g) \\* h|i\nj \udcff"
    axes = style.plot(name, name, name)
    style.draw_lines(axes, {name: ([0, 1], [0, 1])})
    picture = Picture(name, style.figure_of(axes), name, name)
    section = Section(
        name, [name], [name], [Table([name], [[name]], name, [name])], {name: {name: name}}, [picture], [name]
    )
    _, text = text_of(Page(name, name, [section]), tmp_path)
    escaped = r"\_a_b\_ \*\*c\*\* \`d\` &lt;i>e&lt;/i> [f\](g) \\\* h\|i j \udcff"
    assert text.count(escaped) == 15
    assert "F_f and F_p of [0.1, 0.2]" in text_of(Page("", "F_f and F_p of [0.1, 0.2]", []), tmp_path)[1]


def test_figures_of_runs_whose_names_differ_in_case_are_two(tmp_path):
    pictures = []
    for name in ("PCL 1", "pcl-1"):
        axes = style.plot("x", "y", name)
        pictures.append(Picture(name, style.figure_of(axes), "c", "a"))
    html, markdown = text_of(Page("", "", [Section("S", pictures=pictures)]), tmp_path)
    assert len({part.partition('"')[0] for part in html.split("data:image/png;base64,")[1:]}) == 2
    assert "](figures/pcl_1.png)" in markdown
    assert "](figures/pcl_1_2.png)" in markdown


def test_sections_without_content_are_left_out():
    page = Page("", "", [Section("empty"), Section("line", missing=["run this"])])
    assert [section.title for section in page.shown] == ["line"]


@pytest.mark.parametrize(
    ("face", "pose", "told"),
    [
        (12.76, 12.96, "Separation did not happen:"),
        (12.0, 9.0, "Pose is concentrated in F_p"),
        (9.0, 12.0, "rather the reverse"),
    ],
)
def test_separation_is_judged_by_the_numbers(face, pose, told):
    line = pose_verdict(face, pose)
    assert told in line
    assert f"{face:.2f}" in line
    assert f"{pose:.2f}" in line


@pytest.mark.parametrize(
    ("face", "pose", "told"), [(0.56, 0.55, "not separated"), (0.7, 0.55, "more in F_f"), (0.55, 0.7, "should not be")]
)
def test_identity_is_judged_by_its_standard_error(face, pose, told):
    assert told in identity_verdict(face, pose, 1000)


@pytest.mark.parametrize(
    ("task", "metric", "old", "new", "told"),
    [
        ("fer2013", "accuracy", 0.40, 0.46, "Learned"),
        ("fer2013", "accuracy", 0.40, 0.41, "Not learned"),
        ("fer2013", "accuracy", 0.46, 0.40, "Worse than untrained"),
        ("head pose", "mae_mean", 15.0, 12.0, "Learned"),
        ("head pose", "mae_mean", 15.0, 14.8, "Not learned"),
        ("head pose", "mae_mean", 12.0, 15.0, "Worse than untrained"),
    ],
)
def test_learned_means_more_than_chance(task, metric, old, new, told):
    before, after = (measured(task, value, metric=metric) for value in (old, new))
    assert verdict(task, headline(after), [before], [after]).startswith(told)


def test_means_in_the_papers_tables_are_those_of_their_rows_where_not_told():
    """Table 3 and the errors of Table 4; rows whose printed mean is another are named in the note."""
    for table, count in ((printed()["tables"][2], 8), (printed()["tables"][3], 3)):
        for name, *values in table["rows"]:
            agrees = abs(sum(values[:count]) / count - values[count]) < 0.06
            assert agrees != (name.split(" (")[0] in table["note"] and name != "TCAE*"), name


def test_measured_rows_stand_below_the_printed_ones(tmp_path):
    run = Run("mine", tmp_path, measured=[measured(value=0.463)])
    section = paper_section([run])
    (table,) = section.tables
    assert table.cells[-2][0].text == "PCFRL"
    assert table.cells[-2][1] == Cell("57.30", best=True)
    assert [cell.text for cell in table.cells[-1]] == ["here: mine", "46.30", ""]
    (facts,) = section.facts.values()
    assert facts["protocol"] == "last epoch, 300 epochs, learning rate chosen on val, 100 px"
    assert facts["command"] == "pcfrl evaluate x"
    assert any("lfw-linear" in line for line in section.missing)


def test_seeds_of_one_name_get_an_interval_and_a_paired_difference(tmp_path):
    values = {"PCFRL": (0.46, 0.47, 0.48), "PCL": (0.45, 0.455, 0.475)}
    pairs = [(name, seed, each) for name, row in values.items() for seed, each in enumerate(row)]
    runs = [Run(name, tmp_path, measured=[measured(value=each, seed=seed)]) for name, seed, each in pairs]
    section = learned_section(runs)
    side, difference = section.tables
    assert side.cells[0][1].text == "47.00 ± 2.48 (n = 3)"
    assert side.cells[0][1].best
    assert difference.cells[0][0].text == "PCFRL - PCL"
    assert difference.cells[0][1].text == "+1.00 [-0.24, +2.24], holds 0"
    assert [picture.name for picture in section.pictures] == ["seeds_fer2013"]


def test_one_seed_measured_twice_is_no_further_seed(tmp_path):
    def seen(sha, value, seed=0, **how):
        one = measured(value=value, seed=seed, **how)
        one.content["features"]["checkpoint_sha256"] = sha
        return one

    again = [seen("a", 0.5), seen("a", 0.5), seen("a", 0.4)]
    untrained = [seen("a", 0.3, weights="untrained"), seen("b", 0.3, weights="untrained")]
    others = [seen("b", 0.6), seen("a", 0.7, seed=1), *untrained, seen("a", 0.2, weights="lbp")]
    runs = [Run("mine", tmp_path, measured=each) for each in (again, others, [seen("b", 0.2, weights="lbp")])]
    notes = count_once(runs)
    figures = {key.title: [one.metrics["accuracy"] for one in row["fer2013"]] for key, row in rows_of(runs).items()}
    assert figures == {"mine": [0.4, 0.6, 0.7], "mine untrained": [0.3], "lbp": [0.2]}
    assert notes == ["mine: fer2013 was measured again with seed 0; the last folder counts"]
    assert count_once(runs) == []
    twice = [Run("mine", tmp_path, measured=[seen("a", 0.5)]) for _ in range(2)]
    assert notes[0] in text_of(page_of(twice), tmp_path)[1]
    library = seen(None, 0.5), seen(None, 0.5)  # weights of timm: there is no checkpoint
    for one in library:
        one.content["features"]["extractor"] = "encoder 1234 float32"
    assert len(count_once([Run("timm", tmp_path, measured=library)])) == 1
    assert count_once([Run("foreign", tmp_path, measured=[seen(["a"], 0.5)])]) == []


def study_of(folder, description, outcomes, name):
    """The section of an ablation or a sweep, from files by its own writers."""
    write_results(folder / RESULTS, outcomes, description.metrics)
    description.write(folder / name)
    (section,) = [each for each in page_of(read_runs([str(folder)])).shown if each.tables]
    return section


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "variant,seed,metric,value,state,error\nx,zero,m,1,finished,\n",
        "variant,seed,metric,value,state,error\nx,0,m,1,finished,,more\n",
        "variant\nx\n",
    ],
)
def test_results_of_another_program_are_named(tmp_path, text):
    Description("t", (metric("fer2013"),)).write(tmp_path / "sweep.json")
    path = tmp_path / RESULTS
    path.write_text(text)
    with pytest.raises(UsageError, match=r"results.csv is no results of an ablation or a sweep"):
        read_runs([str(tmp_path)])
    path.write_text("variant,seed,metric,value,state,error\nx,0,fer2013,0.5,done,\n")
    with pytest.raises(UsageError, match="state 'done'"):
        read_results(path)
    path.write_text("variant,seed,metric,value,state,error\nx,0,fer2013,0.9,failed,\ny,0,fer2013,0.5,finished,\n")
    assert [each.trial.name for each in ranked(read_results(path), metric("fer2013"))] == ["y", "x"]


def test_ablation_shows_the_papers_values(tmp_path):
    accuracy, loss = metric("fer2013"), metric("train/loss_epoch", "minimize")
    values = {"10": 0.45, "1": 0.4, "5": 0.5}  # in the order in which several runs at once have ended
    outcomes = [
        Outcome(Trial(name, seed, (), tmp_path), "finished", {accuracy.name: value + seed / 100, loss.name: value})
        for name, value in values.items()
        for seed in (0, 1)
    ]
    outcomes.append(Outcome(Trial("10", 2, (), tmp_path), "failed", error="no memory"))
    paper = {"RAF-DB, %": {"10": 75.68}}
    description = Description("Fig. 6a: alpha", (accuracy, loss), ("1", "5", "10", "20"), "alpha", paper)
    section = study_of(tmp_path, description, outcomes, "ablation.json")
    cells = [[cell.text for cell in row] for row in section.tables[0].cells]
    assert cells[1][:2] == ["5", "50.50 ± 6.35 (n = 2)"]
    assert cells[1][2] == "+10.00 [+10.00, +10.00]"
    assert cells[2][-1] == "75.68"
    assert section.pictures[0].figure.axes[0].get_xlabel() == "alpha"
    assert "10, seed 2: failed no memory" in section.text[0]
    assert section.tables[0].headings[1:4] == ["fer2013, %", "minus 1", "train/loss_epoch"]
    assert cells[3] == ["20", *[""] * 5]
    best = [[row[0].text for row in section.tables[0].cells if row[column].best] for column in (1, 3)]
    assert best == [["5"], ["1"]]  # the highest accuracy, the lowest loss
    assert len(section.pictures) == 2


def test_a_sweep_lists_its_trials_the_best_first(tmp_path):
    accuracy = metric("monitor/knn_accuracy")
    trials = [Trial(f"t{number}", 0, (), tmp_path, {"optimizer.lr": 0.1**number}) for number in range(4)]
    found = [("finished", 0.3), ("finished", 0.4), ("stopped", 0.5), ("failed", None)]
    outcomes = [
        Outcome(trial, state, {} if value is None else {accuracy.name: value})
        for trial, (state, value) in zip(trials, found, strict=True)
    ]
    section = study_of(tmp_path, Description("rates", (accuracy,)), outcomes, "sweep.json")
    assert [row[0].text for row in section.tables[0].cells][:2] == ["t1", "t0"]
    assert [row[0].text for row in section.tables[0].cells][2:] == ["t2", "t3"]  # stopped early, without a figure
    assert section.tables[0].headings[2] == "lr"
    assert len(section.pictures) == 1


def test_results_are_read_as_they_were_written(tmp_path):
    error = metric("monitor/error", "minimize")
    values = {"model.pose_beta": 0.2, "model.contrast.calibrator": "TopK", "data.flip": True, "model.epoch": 3}
    outcomes = [
        Outcome(Trial("000", 0, (), tmp_path, values), "finished", {error.name: 0.1 + 0.2}),
        Outcome(Trial("001", 0, (), tmp_path, values), "failed", error='a "quoted", line'),
    ]
    write_results(tmp_path / RESULTS, outcomes, [error])
    assert read_results(tmp_path / RESULTS) == outcomes
    described = Description("t", (error,), ("a", "b"), None, {"column": {"a": 1.5}})
    described.write(tmp_path / "ablation.json")
    assert read_description(tmp_path / "ablation.json") == described


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"title": "t", "metrics": {"a/b": "up"}, "variants": []}'])
def test_damaged_description_is_named(tmp_path, text):
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(UsageError, match=r"ablation.json is no description of an ablation"):
        read_description(tmp_path / "ablation.json")


@pytest.mark.parametrize("given", ["absent", "NAME=absent"])
def test_absent_folder(given):
    with pytest.raises(UsageError, match="absent is not a folder"):
        read_runs([given])


def test_empty_folder(tmp_path):
    with pytest.raises(UsageError, match="holds neither"):
        read_runs([str(tmp_path)])


def test_damaged_file_is_named(tmp_path):
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UsageError, match=r"results.json is not JSON"):
        read_runs([str(tmp_path)])


@pytest.mark.parametrize("given", ["NAME=", "="])
def test_a_name_without_a_folder(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics.csv").write_text("epoch,train/loss_epoch\n0,1.5\n")
    with pytest.raises(UsageError, match=f"{given} is not a folder"):
        read_runs([given])


def probe_folder(folder):
    """What `pcfrl fit` with a config of a probe leaves."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").touch()
    settings = {"checkpoint": "runs/pretrain/version_0", "baseline": None}
    (folder / "config.yaml").write_text(json.dumps({"model": {"class_path": "x.LabelProbe", "init_args": settings}}))
    (folder / "metrics.csv").write_text("epoch,step,train/loss,val/accuracy\n0,0,2.0,\n")
    return folder


def test_the_folder_of_a_probe_is_reported_on_without_its_head(tmp_path):
    folder = probe_folder(tmp_path / "probe")
    content = {"probe": "LabelProbe", "task": "emotion", "dataset": "labelled", "features": {"feature": "f_s"}}
    content |= {"metrics": {"last": {"accuracy": 0.25}}, "seed": 0, "splits": {"test": {"samples": 32}}}
    (folder / "results.json").write_text(json.dumps(content))
    (run,) = read_runs([str(folder)])
    assert run.name == "pretrain-version_0"
    assert run.checkpoint is None
    section = next(each for each in page_of([run]).shown if each.tables)
    assert section.tables[0].cells[0][0].text == "emotion: accuracy in % ↑"
    assert section.tables[0].cells[0][1].text == "25.00"


@pytest.mark.parametrize(("baseline", "weights"), [("random", "untrained"), ("lbp", "lbp"), (None, "pretrained")])
def test_a_baseline_names_the_weights(tmp_path, baseline, weights):
    content = {"probe": "LabelProbe", "task": "emotion", "features": {"feature": "f_s", "baseline": baseline}}
    (tmp_path / "results.json").write_text(json.dumps(content | {"metrics": {"last": {"accuracy": 0.25}}}))
    assert [one.weights for one in read_probe(tmp_path / "results.json")] == [weights]


def test_one_figure_alone_is_not_the_best():
    assert best_of([1.0, None, float("nan")], lower=True) is None
    assert (best_of([1.0, 2.0], lower=True), best_of([1.0, 2.0], lower=False)) == (1.0, 2.0)


def test_a_probe_that_was_not_tested_comes_with_the_command(tmp_path):
    folder = probe_folder(tmp_path / "probe")
    with pytest.raises(UsageError, match=f"not tested yet: pcfrl test --config {folder}/config.yaml --ckpt_path"):
        read_runs([str(folder)])


@pytest.mark.parametrize("place", ["", "mine"])
def test_an_evaluation_without_any_data_is_no_report(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "summary.json").write_text(json.dumps({"encoder": "mine", "rows": []}))
    with pytest.raises(UsageError, match="no task was measured there"):
        read_runs([str(tmp_path)])


def test_a_line_that_was_cut_is_named(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,train/loss_epoch\n0,1.5\n1,1.2e\n")
    with pytest.raises(UsageError, match=r"metrics.csv:3: could not convert string to float: '1.2e'; remove the line"):
        read_runs([str(tmp_path)])
    (tmp_path / "metrics.csv").write_text("epoch,train/loss_epoch,train/images_seen\n0,1.5,inf\n")
    with pytest.raises(UsageError, match=r"metrics.csv:2: cannot convert float infinity to integer; remove the line"):
        read_runs([str(tmp_path)])
    (tmp_path / "metrics.csv").write_bytes(b"epoch,train/loss_epoch\n0,\xff\n")
    with pytest.raises(UsageError, match=r"metrics.csv is not a table"):
        read_runs([str(tmp_path)])


ONE = {"features": {"feature": "f_s"}, "task": "x"}


@pytest.mark.parametrize(
    "content",
    [
        {"features": []},
        {"features": {}},
        {"features": {}, "task": "x", "metrics": {"last": 3}},
        *({**ONE, "metrics": {"last": {}}, "seed": seed} for seed in ([0], "first")),
        *({**ONE, "metrics": {"last": {"a": figure}}} for figure in ("high", {"b": 1}, [[1, 2], 3], [10**400])),
    ],
)
def test_results_of_something_else_are_named(tmp_path, content):
    (tmp_path / "results.json").write_text(json.dumps({"probe": "LabelProbe", **content}))
    with pytest.raises(UsageError, match=r"results.json is no results.json of `pcfrl test`"):
        read_runs([str(tmp_path)])


def test_weights_of_another_kind_are_shown_as_they_are(tmp_path):
    (tmp_path / "results.json").write_text(
        json.dumps({"probe": "x", **ONE, "features": {"feature": "f_s", "baseline": ["a"]}, "metrics": {"last": {}}})
    )
    (run,) = read_runs([str(tmp_path)])
    assert [one.weights for one in run.measured] == ["['a']"]


def test_curves_of_another_length_are_left_out(tmp_path):
    """Other bands of yaw, or other false accept rates, of an earlier version."""
    figures = {"mae_by_yaw": [1.0, None] * 6, "roc_tar": [0.5] * 28, "confusion": [[3, 1], [0, 4]]}
    whole = measured("x")
    assert [part.name for part in probes_section([Run("a", tmp_path, measured=[whole])]).pictures] == []
    for name, picture in (("mae_by_yaw", "yaw_x"), ("roc_tar", "roc_x"), ("confusion", "confusion_x_a")):
        for figure, shown in ((figures[name], [picture]), (figures[name][:-1], [])):
            one = Measured("x", "pretrained", "f_s", {"accuracy": 0.4, name: figure}, whole.content)
            section = probes_section([Run("a", tmp_path, measured=[one])])
            assert [part.name for part in section.pictures] == shown, (name, len(figure))
    whole.content["class_names"] = 2  # of another kind
    one = Measured("x", "pretrained", "f_s", {"confusion": figures["confusion"]}, whole.content)
    assert len(probes_section([Run("a", tmp_path, measured=[one])]).pictures) == 1


def test_own_data_sets_with_one_label_are_no_seeds(tmp_path):
    probe = {
        "probe": "LabelProbe",
        "task": "mood",
        "dataset": "labelled",
        "chosen_by": "mse",
        "higher_is_better": False,
    }
    for folder, data, value in (("a", "mine", 0.5), ("b", "yours", 0.7), ("c/d", "mine", 0.3)):
        content = probe | {"data": {"read_from": [data], "labels": "l.csv"}, "features": {"feature": "f_s"}}
        content |= {"metrics": {"last": {"per_class": [1.0], "mse": value}}}
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "results.json").write_text(json.dumps(content))
    (run,) = read_runs([str(tmp_path)])
    assert sorted(one.task for one in run.measured) == ["mood (mine, l.csv)"] * 2 + ["mood (yours, l.csv)"]
    (table,) = learned_section([run]).tables
    assert [row[0].text for row in table.cells] == ["mood (mine, l.csv): mse ↓", "mood (yours, l.csv): mse ↓"]
    (alone,) = read_runs([str(tmp_path / "b")])
    assert [one.task for one in alone.measured] == ["mood"]


def test_a_task_without_any_figure_has_an_empty_row(tmp_path):
    one = Measured("mood", "pretrained", "f_s", {"accuracy": None}, {"features": {}})
    (table,) = learned_section([Run("mine", tmp_path, measured=[one])]).tables
    assert [cell.text for cell in table.cells[0]][1:] == [""]


def test_disentangle_is_shown_where_a_run_has_it(tmp_path):
    def one(pose, other):
        values = {"pose": {"mean": pose}, "pose_nearest": 20.0, "identity_same_pose": 0.5, "identity_other_pose": other}
        return values | {"verification": 0.6, "expression": None}

    features = {"f_f": one(9.0, 0.2), "f_p": one(9.5, 0.3)}
    verdict = {"pose_gap": -0.5, "identity_gap": -0.1, "right_way_round": False}
    encoder = {"name": "mine", "measures": {"pointing": features}, "untrained": {"pointing": features}}
    (tmp_path / "disentangle.json").write_text(json.dumps({"encoders": [encoder | {"verdict": {"pointing": verdict}}]}))
    (section,) = [each for each in page_of(read_runs([str(tmp_path)])).shown if each.tables]
    assert "mine on pointing: separation did not happen (F_f minus F_p: pose error -0.50 degrees" in section.text[0]
    cells = [cell.text for cell in section.tables[0].cells[-1]]
    assert cells == ["trained F_p", "9.50", "20.0", "50.0", "30.0", "60.0"]


LARGE = {"pose_gap": 10**400, "identity_gap": 0.1, "right_way_round": True}


@pytest.mark.parametrize(
    "content",
    [
        5,
        "abc",
        [{"name": "x"}],
        [{"name": "x", "verdict": {}, "measures": {"a": 3}}],
        [{"name": "x", "verdict": {"made": LARGE}, "measures": {}, "untrained": {}}],
    ],
)
def test_a_disentangle_of_something_else_is_named(tmp_path, content):
    (tmp_path / "disentangle.json").write_text(json.dumps({"encoders": content}))
    with pytest.raises(UsageError, match=r"disentangle.json is not of `pcfrl disentangle`; remove it"):
        page_of(read_runs([str(tmp_path)]))


def test_runs_of_one_method_with_other_settings_are_no_seeds(tmp_path):
    folders = []
    for name, lr, seed in (("a", 1e-3, 0), ("b", 1e-3, 1), ("c", 1e-4, 0)):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        config = {"model": {"class_path": "x.SimCLR"}, "optimizer": {"lr": lr}, "seed_everything": seed}
        (folders[-1] / "config.yaml").write_text(json.dumps(config))
        (folders[-1] / "metrics.csv").write_text("epoch,train/loss_epoch,train/images_seen\n0,1.5,64\n1,1.25,128\n")
    seeds, others = read_runs([str(each) for each in folders[:2]]), read_runs([str(each) for each in folders[1:]])
    assert [run.name for run in seeds] == ["SimCLR", "SimCLR"]
    assert [run.name for run in others] == ["SimCLR (b)", "SimCLR (c)"]
    assert [run.name for run in read_runs([f"mine={each}" for each in folders])] == ["mine"] * 3
    assert seeds[0].history["loss"] == ([1.0, 2.0], [1.5, 1.25])
    assert seeds[0].images_seen == 128


def test_settings_of_one_method_in_folders_of_one_name_are_told_apart(tmp_path):
    folders = []
    for name, lr in (("a", 1e-3), ("b", 1e-4)):
        folders.append(tmp_path / name / "version_0")
        folders[-1].mkdir(parents=True)
        config = {"model": {"class_path": "x.SimCLR"}, "optimizer": {"lr": lr}, "seed_everything": 0}
        (folders[-1] / "config.yaml").write_text(json.dumps(config))
        (folders[-1] / "metrics.csv").write_text("epoch,train/loss_epoch\n0,1.5\n")
    paths = [str(each) for each in folders]
    assert [run.name for run in read_runs(paths)] == ["SimCLR (a/version_0)", "SimCLR (b/version_0)"]
    seeds = read_runs([f"mine={path}" for path in paths])
    assert [run.name for run in seeds] == ["mine", "mine"]
    assert [run.label for run in seeds] == ["mine (a/version_0)", "mine (b/version_0)"]  # both have seed 0
    assert [run.label for run in read_runs([f"mine={paths[0]}"] * 2)] == ["mine (1)", "mine (2)"]


def test_a_figure_that_was_not_finite_is_left_empty(tmp_path):
    """results.json has null for it."""
    pose = {"task": "aflw2000", "metric": "mae_mean"}
    found = [measured(**pose, value=9.0, weights="untrained"), measured(**pose, value=None)]
    found += [measured(**pose, value=None, feature="f_f"), measured(**pose, value=8.0, feature="f_p")]
    sections = page_of([Run("mine", tmp_path, measured=[*found, measured(value=0.5)])]).shown
    learned = sections[0]
    assert not learned.points
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in learned.tables[0].cells}
    assert rows == {
        "fer2013: accuracy in % ↑": ["", "50.00", "", ""],
        "aflw2000: mean error in deg ↓": ["9.00", "", "", "8.00"],
    }
    assert not any(line.startswith(("Pose", "Separation")) for section in sections for line in section.text)


def test_a_run_called_untrained_is_not_untrained_twice(tmp_path):
    runs = [Run("untrained", tmp_path, measured=[measured(weights="untrained"), measured(weights="lbp")])]
    (table,) = learned_section(runs).tables
    assert table.headings == ["task", "untrained F_s", "lbp"]
    runs.append(Run("lr, 1e-3", tmp_path, measured=[measured(value=0.5)]))
    rows = [row[0].text for row in learned_section(runs).tables[0].cells]
    assert rows == ["untrained", "lbp", "lr, 1e-3"]


def test_what_is_absent_comes_with_a_command_of_the_package(tmp_path):
    run = Run("mine", tmp_path, measured=[measured()])
    (section,) = [each for each in page_of([run]).sections if each.title == "Not in this report"]
    text = " ".join(section.missing)
    assert all(each in text for each in ("Fig. 5 and 7 to 10", "Fig. 6a: fig6_alpha", "Fig. 7c: fig7_threshold"))
    ablations = {path.stem: read_ablation(path) for path in (FOLDER / "ablation").glob("*.yaml")}
    for part, names in printed()["ablations"].items():
        assert all(ablations[name].title.startswith(part) for name in names)
    study = Study(Description(ablations["fig7_threshold"].title, (), ("1",)), [])
    assert not any("fig7_threshold" in line for line in absent_lines([run, Run("T", tmp_path, study=study)]))


def test_features_measured_in_a_folder_of_their_own_count_for_the_run(tmp_path):
    pose = [
        measured("aflw2000", 12.0 - 3 * (name == "f_p"), 0, "pretrained", name, "mae_mean") for name in ("f_f", "f_p")
    ]
    section = separation_section([Run("mine", tmp_path), Run("mine", tmp_path, measured=pose)], [])
    assert section.text[0].startswith("Pose is concentrated in F_p")
    assert [cell.text for cell in section.tables[0].cells[0]][1:] == ["", "12.00 deg", "9.00 deg"]


class Unreadable(ArraySource):
    def read(self, index):
        raise CorruptImage(self.name(index), "truncated")


def test_an_image_that_cannot_be_read_leaves_out_its_figures_alone(tmp_path, monkeypatch):
    model = PCFRL(FaceBackbone(0.0625), image_size=32, projection_dim=16).eval()
    faces = FaceSet(Unreadable(np.zeros((8, 32, 32, 3), np.uint8)), name="mine/train")
    shown = Faces(faces, faces, AlbumentationsViews(32), 4, "mine")
    monkeypatch.setattr(
        "pcfrl_lightning.reports.build.material",
        lambda run, data: Material(run, model.network, model, shown, shown),
    )
    run = Run("A", tmp_path, checkpoint=tmp_path, history={"loss": ([1.0, 2.0], [2.0, 1.0])})
    page = page_of([run])
    assert [picture.name for section in page.shown for picture in section.pictures] == ["training_loss"]
    missing = page.shown[-1].missing
    assert sum("A: figures of its images are left out: " in line for line in missing) == 3
    assert all("truncated" in line for line in missing[:3])


@pytest.mark.parametrize(("value", "drawn"), [(0.0, ["fig5", "fig9", "fig7a"]), (float("nan"), [])])
def test_weights_that_tell_nothing_apart_are_said(tmp_path, monkeypatch, value, drawn):
    """t-SNE of equal rows ends the process."""
    model = PCFRL(FaceBackbone(0.0625), image_size=32, projection_dim=16).eval()
    for name, parameter in model.named_parameters():
        if "subnet" in name or "backbone" in name:
            torch.nn.init.constant_(parameter, value)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    faces = FaceSet(ArraySource(pixels), {"identity": torch.arange(8) % 2}, name="mine/train")
    shown = Faces(faces, faces, AlbumentationsViews(32), 4, "mine")
    material = Material(Run("A", tmp_path, checkpoint=tmp_path), model.network, model, shown, shown)
    monkeypatch.setattr("pcfrl_lightning.reports.build.material", lambda run, data: material)
    page = page_of([material.run])
    (maps,) = [section for section in page.shown if section.title == "Feature space: A"]
    assert not maps.pictures
    assert [line.split(" ")[0] for line in maps.missing] == ["f_s", "f_f", "f_p", "sum"]
    names = [picture.name for section in page.shown for picture in section.pictures]
    assert {name.split("_")[1] for name in names} >= set(drawn)
    assert any("features are not finite" in line for line in page.shown[-1].missing) == (not drawn)


@pytest.mark.parametrize(("steps", "told"), [(0, False), (16, True), (49, True), (50, False)])
def test_statistics_that_are_not_settled_are_said(tmp_path, steps, told):
    """After 16 steps of a first run every pair reached T in the report, and none in training."""
    network = PCFRL(FaceBackbone(0.0625), image_size=32, projection_dim=16).network
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(steps)
    material = Material(Run("A", tmp_path), network, None, None, None)
    assert material.unsettled.startswith(f"After {steps} steps the running statistics") == told
    assert bool(material.unsettled) == told


def test_pairs_of_other_methods_are_said_to_be_absent(tmp_path):
    (section,) = alignment_sections(Material(Run("MoCo", tmp_path), None, None, None, None))
    assert "pcfrl fit --config pcfrl:pretrain --data.root FACES" in section.missing[0]
    assert section.title == "Pair alignment: MoCo"
