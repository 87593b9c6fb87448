"""Trials in processes of their own, several at once, until none is left or the time is over."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcfrl_lightning.distributed import cores
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.sweeps.metrics import Metric, history, measured, newest_part, unmeasured
from pcfrl_lightning.sweeps.trial import LOG, Outcome, Trial, begin, last_line, recorded, trained

PROGRAM = (sys.executable, "-m", "pcfrl_lightning")
PATIENCE = 120.0
"""Seconds that a run gets to save itself before it is killed."""
_POLL = 0.5


@dataclass(frozen=True)
class Settings:
    """How trials are run."""

    metrics: Sequence[Metric]  # what is measured; those that are tasks of `pcfrl evaluate` need data_root
    jobs: int = 1  # runs at once
    minutes: float | None = None  # after which no run begins, and what runs is stopped, to be continued later
    data_root: str | None = None  # folder of the data sets of the probes
    probe_epochs: int | None = None  # of the linear probes; None: the protocol's

    def probe(self, trial: Trial, checkpoint: Path) -> list[str]:
        """Command line of the probes of a trial; empty where none are asked for."""
        tasks = [each.name for each in self.metrics if each.is_task]
        epochs = ["--epochs", str(self.probe_epochs)] if self.probe_epochs else []
        place = ["--data-root", str(self.data_root), "--out", str(trial.folder / "evaluate"), *epochs]
        return ["evaluate", str(checkpoint), *place, "--tasks", *tasks] if tasks else []


Watch = Callable[[Trial, list[float]], bool]
"""Told the values of the first metric so far; True ends the trial."""


def run_trials(
    following: Callable[[], Trial | None], settings: Settings, say: Callable[[str], None], watch: Watch | None = None
) -> Iterator[Outcome]:
    """Run trials and give their outcomes as they end; one that is recorded is not run again.

    ``following`` gives the next trial, None where there is none; ``say`` is told what begins.
    """
    end = time.monotonic() + 60 * settings.minutes if settings.minutes else float("inf")
    running: list[_Run] = []
    try:
        while True:
            while len(running) < settings.jobs and time.monotonic() < end and (trial := following()):
                if known := recorded(trial, [each.name for each in settings.metrics]):
                    yield known
                else:
                    running.append(_Run(trial, settings))
                    say(f"{trial.title}: {running[-1].what}")
            if not running:
                return
            for run in list(running):
                if time.monotonic() >= end:
                    run.stop("interrupted")
                elif watch and run.training and watch(run.trial, run.history()):
                    run.stop("stopped")
                if outcome := run.outcome():
                    running.remove(run)
                    outcome.write()
                    yield outcome
            time.sleep(_POLL)
    finally:
        for run in running:
            run.stop("interrupted")
        for run in running:
            run.wait()


class _Run:
    """The processes of a trial: the training, then its probes."""

    def __init__(self, trial: Trial, settings: Settings) -> None:
        begin(trial)
        self.trial, self.settings = trial, settings
        self.started, self.stopping = time.monotonic(), 0.0
        self.reason = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.training = not trained(trial)
        if self.training:
            self.what = "goes on" if newest_part(trial.folder) else "begins"
            self._start(trial.command())
        else:
            self.what = "is trained already"
            self._probe()

    def outcome(self) -> Outcome | None:
        """What came of it, once it has ended."""
        code = self.process.poll() if self.process else 0
        if code is None:
            if self.stopping and time.monotonic() > self.stopping + PATIENCE:
                self._signal(signal.SIGKILL)
            return None
        if self.reason == "stopped":
            values = self.history()
            last = {self.settings.metrics[0].name: values[-1]} if values else {}
            return self._ended("stopped", values=last)
        if code:
            probes = "" if self.training else unmeasured(self.trial.folder)
            error = probes or last_line(self.trial.folder / LOG)
            return self._ended("interrupted" if self.reason else "failed", error=error)
        if self.training:
            self.training = False
            if self._probe():
                return None
        try:
            return self._ended("finished", values=measured(self.trial.folder, self.settings.metrics))
        except UsageError as error:
            return self._ended("failed", error=str(error))

    def history(self) -> list[float]:
        """The first metric so far, by epoch."""
        return history(self.trial.folder, self.settings.metrics[0].name)

    def stop(self, reason: str) -> None:
        """Ask the run to save itself and to end."""
        if not self.reason:
            self.reason, self.stopping = reason, time.monotonic()
            self._signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has ended; it is killed if that takes too long, or after another Ctrl-C."""
        try:
            if self.process:
                self.process.wait(PATIENCE)
        except BaseException as error:
            self._signal(signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def _probe(self) -> bool:
        checkpoint = newest_part(self.trial.folder)
        command = self.settings.probe(self.trial, checkpoint) if checkpoint else []
        if command:
            self._start(command)
        return bool(command)

    def _start(self, command: Sequence[str]) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.settings.jobs > 1:  # otherwise each run takes all cores
            environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // self.settings.jobs)))
        with (self.trial.folder / LOG).open("ab") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which asks the runs to save themselves
                preexec_fn=_end_with_parent,
            )

    def _signal(self, number: int) -> None:
        if self.process and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _ended(self, state: str, **more: Any) -> Outcome:
        return Outcome(self.trial, state, history=self.history(), seconds=time.monotonic() - self.started, **more)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In the new process: it saves itself and ends when this one is killed, so that the next does not meet it."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
