"""The ``pcfrl`` command: training commands go to LightningCLI, the others to small modules of their own."""

import os
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper
from types import FrameType

from pcfrl_lightning import __version__
from pcfrl_lightning.errors import DataError, Stopped, UsageError, on_signals

LIGHTNING = "pcfrl_lightning.cli.training"
COMMANDS = {
    "train": {
        "fit": (LIGHTNING, "train a model: pretraining, or a probe with a config of configs/probe"),
        "demo": ("pcfrl_lightning.cli.demo", "pretrain and probe on synthetic faces, write a report; no data needed"),
        "ablate": ("pcfrl_lightning.cli.ablate", "train the variants of a table, compare them over seeds"),
        "sweep": ("pcfrl_lightning.cli.sweep", "search for values of keys of the configuration, with or without W&B"),
    },
    "evaluate": {
        "evaluate": ("pcfrl_lightning.cli.evaluate", "run every downstream probe for one or several encoders"),
        "disentangle": ("pcfrl_lightning.cli.disentangle", "what F_s, F_f and F_p hold: pose, identity, expression"),
        "report": ("pcfrl_lightning.cli.report", "one page with tables and figures of any runs, side by side"),
        "validate": (LIGHTNING, "score a trained probe on its validation split"),
        "test": (LIGHTNING, "score a trained probe on its test split and write results.json"),
    },
    "use a model": {
        "embed": ("pcfrl_lightning.cli.embed", "write features of images and videos to a file"),
        "neighbours": ("pcfrl_lightning.cli.neighbours", "draw a sheet of the nearest faces by each feature"),
        "export": ("pcfrl_lightning.cli.export", "safetensors, ONNX, TorchScript or torch.export, with a model card"),
        "import-pcl": ("pcfrl_lightning.cli.import_pcl", "convert a public PCL checkpoint"),
    },
    "data": {
        "data": ("pcfrl_lightning.cli.data", "check a data set, make packs: pcfrl data check NAME ROOT"),
    },
    "measure and repair": {
        "bench": ("pcfrl_lightning.cli.bench", "measure a training step: pcfrl bench step"),
        "doctor": ("pcfrl_lightning.cli.doctor", "what is installed and what works here; paste it into a bug report"),
    },
}
"""Module and help line of every command, by what it is for."""

TOOLS = {name: entry for group in COMMANDS.values() for name, entry in group.items() if entry[0] != LIGHTNING}
TRAINING = {name: text for group in COMMANDS.values() for name, (home, text) in group.items() if home == LIGHTNING}
STATUS = "exit status: 0 done, 1 not possible or something failed, 2 wrong option or value, 130 Ctrl-C, 143 SIGTERM"


def usage() -> str:
    """Help text listing every command below what it is for."""
    from pcfrl_lightning.cli.configs import shipped

    width = max(len(name) for group in COMMANDS.values() for name in group)
    groups = (
        "\n".join([f"{heading}:", *(f"  {name:<{width}} {text}" for name, (_, text) in group.items())])
        for heading, group in COMMANDS.items()
    )
    configs = textwrap.fill(
        "configs: --config FILE, or one of the package: " + " ".join(f"pcfrl:{name}" for name in shipped()),
        width=100,
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
    end = f"`pcfrl COMMAND --help` tells more; version {__version__}"
    return "\n\n".join(["usage: pcfrl COMMAND ...", *groups, configs, f"{STATUS}\n{end}"])


def main() -> None:
    """Entry point of the console script."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that a terminal does not have ends no command
    arguments = sys.argv[1:]
    if "_ARGCOMPLETE" in os.environ:
        from pcfrl_lightning.cli.completion import complete

        complete({name: home for group in COMMANDS.values() for name, (home, _) in group.items()}, LIGHTNING)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
    elif arguments[0] == "--version":
        print(__version__)
    elif arguments[0] in TOOLS:
        module = import_module(TOOLS[arguments[0]][0])
        run_or_explain(lambda: module.main(arguments[1:]), ValueError, OSError)
    elif arguments[0] in TRAINING:
        from lightning.pytorch.utilities.exceptions import MisconfigurationException

        from pcfrl_lightning.cli.training import run

        run_or_explain(run, DataError, UsageError, MisconfigurationException, OSError)
    else:
        from pcfrl_lightning.cli.messages import near

        if arguments[0] == "predict":
            sys.exit("pcfrl: `predict` is `embed` now: pcfrl embed X.ckpt FACES --out F.npz")
        hint = near(arguments[0], [*TRAINING, *TOOLS])
        print(f"pcfrl: unknown command {arguments[0]!r}{hint} (see `pcfrl --help`)", file=sys.stderr)
        sys.exit(2)


_IN_WORKER = f"{DataError.__module__}.{DataError.__qualname__}: "


def run_or_explain(command: Callable[[], object], *mistakes: type[Exception]) -> None:
    """Run a command; a mistake in the input ends in one line on standard error and status 1, not in a traceback."""
    try:
        with on_signals(stop):
            status = command()
    except BrokenPipeError:  # `pcfrl ... | head`; what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except mistakes as error:
        # of a loader's process torch tells the traceback, in the message
        text = str(error)
        sys.exit(f"pcfrl: {text.rpartition(_IN_WORKER)[2].strip() if 'DataLoader worker' in text else text}")
    except Stopped as stopped:
        if stopped.text:
            print(f"pcfrl: {stopped}", file=sys.stderr)
        sys.exit(stopped.code)
    sys.exit(status if isinstance(status, int) else 0)


def stop(number: int, _: FrameType | None) -> None:
    """What a command does on a signal: on the way out files are closed and temporary ones removed."""
    raise Stopped(number, "before the end; what was finished before is kept")
