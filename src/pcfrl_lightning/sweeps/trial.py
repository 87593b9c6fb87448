"""One run of an ablation or a sweep: its command line, its folder, and what came of it."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from pcfrl_lightning.errors import UsageError, one_line
from pcfrl_lightning.files import replacing
from pcfrl_lightning.sweeps.metrics import newest_part

RECORD = "trial.json"
LOG = "log.txt"
VALUES = "values.json"


@dataclass(frozen=True)
class Trial:
    """A run of `pcfrl fit`."""

    name: str  # of the variant of an ablation, or the number of a trial of a sweep
    seed: int  # of the run; seeds of one number are paired
    arguments: tuple[str, ...]  # of `pcfrl fit`, without the folder of the log and the checkpoint to go on from
    root: Path  # folder of all runs
    values: Mapping[str, Any] = field(default_factory=dict)  # of the swept keys

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run keeps its parts (``version_0``, and one more for each time it went on), log and record."""
        return self.root / folder_name(self.name) / f"seed_{self.seed}"

    def again(self) -> list[str]:
        """The command line without the program for the same run once more: no other logger either, and a key that is
        given several times has its last value."""
        last = {word.partition("=")[0]: number for number, word in enumerate(self.arguments)}
        kept = [
            word
            for number, word in enumerate(self.arguments)
            if word.startswith("--config=") or "=" not in word or last[word.partition("=")[0]] == number
        ]
        log = ["--config=pcfrl:logger/csv"] if any("logger" in word for word in kept) else []
        return ["fit", *kept, *log]

    def command(self) -> list[str]:
        """The command line without the program; it goes on with the last checkpoint that the run has."""
        log = {"": "lightning.pytorch.loggers.CSVLogger", ".save_dir": self.folder.parent, ".name": self.folder.name}
        place = [f"--trainer.logger{key}={value}" for key, value in (log | {".version": "null"}).items()]
        quiet = "--trainer.enable_progress_bar=false"
        last = newest_part(self.folder)
        going_on = [f"--ckpt_path={last}", "--init_from=null"] if last else []
        return ["fit", *self.arguments, *place, quiet, *going_on]


@dataclass
class Outcome:
    """What came of a trial: it ``finished``, ``failed``, or was ``stopped``, as other trials were better.

    Of one that was ``interrupted`` nothing is recorded, and the same command goes on with it.
    """

    trial: Trial
    state: str
    values: dict[str, float] = field(
        default_factory=dict
    )  # metrics by name, of a stopped trial those of its last epoch
    error: str = ""  # the last line of the log of one that failed
    history: list[float] = field(default_factory=list)  # the metric that a sweep is about, by epoch
    seconds: float = 0.0

    def write(self) -> None:
        """Record it in the folder of the trial; an interrupted one has no record."""
        if self.state != "interrupted":
            content = {key: value for key, value in vars(self).items() if key != "trial"}
            content["seconds"] = round(self.seconds, 1)
            with replacing(self.trial.folder / RECORD) as part:
                part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def recorded(trial: Trial, metrics: Sequence[str]) -> Outcome | None:
    """The outcome of an earlier run of the trial; none if it did not end, failed, or lacks one of the metrics.

    UsageError if the folder holds a run of another command.
    """
    check_same(trial)
    path = trial.folder / RECORD
    if not path.is_file():
        return None
    try:
        outcome = Outcome(trial, **json.loads(path.read_text(encoding="utf-8")))
        measured = set(metrics) <= outcome.values.keys()
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no record of a run ({one_line(error)}): remove it, the run stays") from None
    return outcome if outcome.state == "stopped" or (outcome.state == "finished" and measured) else None


def begin(trial: Trial) -> None:
    """Make the folder of a trial, with its command line as text and the swept values."""
    trial.folder.mkdir(parents=True, exist_ok=True)
    texts = {"command.txt": shlex.join(["pcfrl", "fit", *trial.arguments]) + "\n"}
    texts |= {VALUES: json.dumps(dict(trial.values))} if trial.values else {}
    for name, text in texts.items():
        with replacing(trial.folder / name) as part:
            part.write_text(text, encoding="utf-8")


def check_same(trial: Trial) -> None:
    """Refuse to go on with a run of another command line."""
    path = trial.folder / "command.txt"
    if not path.is_file():
        return
    there = shlex.split(path.read_text(encoding="utf-8"))[2:]
    changed = [f"{here or 'nothing'} in place of {old or 'nothing'}" for old, here in _changes(there, trial.arguments)]
    if changed:
        raise UsageError(
            f"{trial.folder} holds a run of another command ({changed[0]}): give another --out, or remove that folder"
        )


def trained(trial: Trial) -> bool:
    """Whether the run has trained all its epochs, also where a scheduler ran the command and nothing was recorded."""
    from pcfrl_lightning.networks.checkpoint import read_checkpoint

    last = newest_part(trial.folder)
    config = last.parents[1] / "config.yaml" if last else None
    if last is None or config is None or not config.is_file():
        return False
    try:
        epochs = yaml.safe_load(config.read_text(encoding="utf-8"))["trainer"]["max_epochs"]
        done = read_checkpoint(last)["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        return False
    return isinstance(epochs, int) and 0 < epochs <= done


def last_line(log: Path) -> str:
    """What a run that failed said last."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")


def folder_name(name: str) -> str:
    """A name of a folder that any file system takes; different names stay different."""
    plain = re.sub(r"[^\w.=+-]+", "_", name).strip("_.")[:60]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:6]}"


def _changes(there: Sequence[str], here: Sequence[str]) -> list[tuple[str, str]]:
    gone = [each for each in there if each not in here]
    new = [each for each in here if each not in there]
    pairs = list(zip_longest(gone, new, fillvalue=""))
    return pairs or ([] if list(there) == list(here) else [("another order", "this order")])
