import sys
from pathlib import Path

import pytest

from pcfrl_lightning.sweeps import runner
from pcfrl_lightning.sweeps.metrics import metric
from pcfrl_lightning.sweeps.trial import Trial

STANDIN = Path(__file__).parent / "standin.py"


@pytest.fixture
def standin(monkeypatch):
    """Runs take a fraction of a second: `standin.py` writes their files."""
    monkeypatch.setattr(runner, "PROGRAM", (sys.executable, str(STANDIN)))
    monkeypatch.setattr(runner, "_POLL", 0.02)


@pytest.fixture
def trials(tmp_path):
    """Trials by name, from the arguments of the stand-in."""
    return lambda **named: [Trial(name, 0, tuple(words), tmp_path / "runs") for name, words in named.items()]


@pytest.fixture
def run(standin):
    """Run some trials; returns their outcomes by name."""

    def call(trials, jobs=1, minutes=None, watch=None):
        settings = runner.Settings([metric("monitor/knn_accuracy")], jobs, minutes)
        waiting = iter(trials)
        found = runner.run_trials(lambda: next(waiting, None), settings, lambda text: None, watch)
        return {outcome.trial.name: outcome for outcome in found}

    return call
