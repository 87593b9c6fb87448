"""Trials in processes: outcomes, what is repeated and what is not, early ends."""

import os
import signal
import time

import pytest

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.files import alone
from pcfrl_lightning.sweeps import runner
from pcfrl_lightning.sweeps.metrics import history, measured, metric, unmeasured
from pcfrl_lightning.sweeps.trial import LOG, RECORD, Trial, folder_name, last_line, recorded, trained


def starts(trial):
    """The epochs in which the processes of a trial began."""
    lines = (trial.folder / LOG).read_text().splitlines()
    return [int(line.split()[-1]) for line in lines if line.startswith("fit from")]


def test_a_run_that_fails_shows_its_last_line_and_the_others_go_on(run, trials):
    some = trials(good=["--quality=0.7"], bad=["--crash=1"], better=["--quality=0.9"])
    found = run(some, jobs=2)
    assert [found[name].state for name in ("good", "bad", "better")] == ["finished", "failed", "finished"]
    assert found["good"].values == {"monitor/knn_accuracy": 0.7}
    assert found["better"].history == [0.45, 0.9]
    assert found["bad"].error == "pcfrl: the disk is full"


def test_finished_runs_are_not_repeated_and_failed_ones_go_on_from_their_checkpoint(run, trials):
    some = trials(good=[], bad=["--crash=1"])
    run(some)
    again = run(some)
    assert {name: outcome.state for name, outcome in again.items()} == {"good": "finished", "bad": "finished"}
    assert [starts(trial) for trial in some] == [[0], [0, 1]]
    assert history(some[1].folder, "monitor/knn_accuracy") == [0.25, 0.5]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"state": "finished", "later": 1}', '{"state": "finished", "values": []}']
)
def test_a_record_that_cannot_be_read_is_named(run, trials, content):
    (trial,) = trials(good=[])
    run([trial])
    (trial.folder / RECORD).write_text(content)
    with pytest.raises(UsageError, match=r"trial.json is no record of a run \(.*\): remove it"):
        recorded(trial, [])


@pytest.mark.parametrize("rest", ["1,1e-", "1,0.", "1,0.5\0\0"])
def test_a_line_of_the_log_that_was_cut_off_does_not_count(tmp_path, rest):
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").write_bytes(f"epoch,monitor/x\r\n0,0.25\r\n{rest}".encode())
    assert history(tmp_path, "monitor/x") == [0.25]


@pytest.mark.parametrize("rows", ["", "[", "[3]", '[{"task": "lfw", "weights": "pretrained"}]'])
def test_a_summary_of_another_program_holds_no_figure(tmp_path, rows):
    path = tmp_path / "evaluate" / "summary.json"
    path.parent.mkdir()
    path.write_text(f'{{"rows": {rows}}}' if rows else "[]")
    assert unmeasured(tmp_path) == ""
    with pytest.raises(UsageError, match=r"lfw was not measured: .*log.txt"):
        measured(tmp_path, [metric("lfw")])


def test_a_config_that_is_no_yaml_is_not_that_of_a_trained_run(run, trials):
    (trial,) = trials(good=[])
    run([trial])
    for path in trial.folder.glob("version_*"):
        (path / "config.yaml").write_text("trainer: [")
    assert not trained(trial)


def test_a_folder_of_another_command_is_refused(run, trials):
    run(trials(one=["--quality=0.7"]))
    with pytest.raises(UsageError, match=r"another command \(--quality=0.8 in place of --quality=0.7\): give another"):
        run(trials(one=["--quality=0.8"]))


def test_when_the_time_is_over_runs_are_saved_and_go_on_later(run, trials):
    some = trials(long=["--epochs=4", "--pause=0.4"], never=[])
    found = run(some, minutes=0.6 / 60)
    assert {name: outcome.state for name, outcome in found.items()} == {"long": "interrupted"}
    assert not (some[1].folder / LOG).exists()
    found = run(some)
    assert {outcome.state for outcome in found.values()} == {"finished"}
    assert starts(some[0])[0] == 0
    assert len(found["long"].history) == 4


def test_a_run_that_is_watched_can_be_stopped_and_is_not_repeated(run, trials):
    some = trials(poor=["--quality=0.1", "--epochs=50", "--pause=0.05"], good=["--quality=0.9"])
    found = run(some, watch=lambda trial, values: trial.name == "poor" and len(values) >= 3)
    assert found["poor"].state == "stopped"
    assert 3 <= len(found["poor"].history) < 50
    assert run(some)["poor"].state == "stopped"
    assert starts(some[0]) == [0]


def test_runs_are_ended_with_the_command(standin, trials):
    some = trials(one=["--pause=60"], two=["--pause=60"])
    waiting = iter(some)
    begun, before = [], set(children())  # other tests may have left helpers of torch and of multiprocessing
    settings = runner.Settings([metric("monitor/knn_accuracy")], jobs=2)

    def interrupt(trial, values):
        """Ctrl-C while both run."""
        if len(begun) == 2 and all("fit" in (each.folder / LOG).read_text() for each in some):
            assert len(set(children()) - before) == 2
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        list(runner.run_trials(lambda: next(waiting, None), settings, begun.append, interrupt))
    assert not set(children()) - before


def test_runs_end_when_their_parent_is_killed(standin, trials, tmp_path):
    """A fork stands for the command; it gets SIGKILL, as from an out-of-memory killer."""
    (trial,) = trials(one=["--pause=60"])
    parent = os.fork()
    if not parent:
        waiting = iter([trial])
        settings = runner.Settings([metric("monitor/knn_accuracy")])
        list(runner.run_trials(lambda: next(waiting, None), settings, lambda text: None))
        os._exit(0)
    until(lambda: (trial.folder / LOG).is_file() and starts(trial))
    (child,) = children(parent)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    until(lambda: not alive(child))


def test_two_commands_do_not_share_a_folder(tmp_path):
    with (
        alone(tmp_path),
        pytest.raises(UsageError, match="another process works in"),
        alone(tmp_path),
    ):
        pass
    with alone(tmp_path):
        pass


def test_last_line_is_that_of_the_error(tmp_path):
    (tmp_path / "log").write_text("Epoch 1\rEpoch 2\nValueError: no\n\n  \n")
    assert last_line(tmp_path / "log") == "ValueError: no"


def test_a_run_once_more_has_the_last_values_and_the_log_of_the_trial(tmp_path):
    given = ("--config=a.yaml", "--data.root=FACES", "--config=pcfrl:logger/wandb", "--data.root=x", "--a.b", "c=d")
    again = Trial("a", 0, given, tmp_path).again()
    kept = ["--config=a.yaml", "--config=pcfrl:logger/wandb", "--data.root=x", "--a.b", "c=d"]
    assert again == ["fit", *kept, "--config=pcfrl:logger/csv"]
    assert Trial("a", 0, ("--q=1",), tmp_path).again() == ["fit", "--q=1"]


def test_names_of_folders_are_plain_and_differ():
    names = ["T = 1", "T: 1", "T/1", "L'", "0.5", "../../x", "SimCLR + NPA"]
    folders = [folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    assert all("/" not in folder and not folder.startswith(".") for folder in folders)
    assert folder_name("0.5") == "0.5"


def children(parent=None):
    parent = parent or os.getpid()
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        return [int(number) for number in file.read().split()]


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
