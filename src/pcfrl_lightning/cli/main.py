"""The ``pcfrl`` command: training commands go to LightningCLI, the others to small modules of their own."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from pcfrl_lightning import __version__
from pcfrl_lightning.errors import DataError, Stopped, UsageError

TRAINING = {
    "fit": "train a model (pretraining or a probe)",
    "validate": "evaluate a trained probe on the validation split (config: one of configs/probe)",
    "test": "evaluate a trained probe on the test split and write results.json (config: one of configs/probe)",
}
TOOLS = {
    "embed": ("pcfrl_lightning.cli.embed", "write features of images and videos: pcfrl embed X.ckpt FACES --out F.npz"),
    "neighbours": ("pcfrl_lightning.cli.neighbours", "a sheet of the nearest faces by each feature"),
    "export": ("pcfrl_lightning.cli.export", "safetensors, ONNX, TorchScript or torch.export, with a model card"),
    "evaluate": ("pcfrl_lightning.cli.evaluate", "run every downstream probe for one or several encoders"),
    "data": ("pcfrl_lightning.cli.data", "check a data set on disk: pcfrl data check NAME ROOT"),
    "import-pcl": ("pcfrl_lightning.cli.import_pcl", "convert a public PCL checkpoint"),
    "bench": ("pcfrl_lightning.cli.bench", "measure a training step: pcfrl bench step"),
    "demo": ("pcfrl_lightning.cli.demo", "pretrain and probe on synthetic faces, write a report"),
}
STATUS = "exit status: 0 done, 1 not possible or something failed, 2 wrong option or value, 130 Ctrl-C, 143 SIGTERM"


def usage() -> str:
    """Help text listing every command."""
    from pcfrl_lightning.cli.configs import shipped

    rows = [*TRAINING.items(), *((name, text) for name, (_, text) in TOOLS.items())]
    commands = "\n".join(f"  {name:<11} {text}" for name, text in rows)
    configs = "configs: --config FILE, or one of the package: " + " ".join(f"pcfrl:{name}" for name in shipped())
    end = f"`pcfrl COMMAND --help` tells more; version {__version__}"
    return f"usage: pcfrl COMMAND ...\n\n{commands}\n\n{configs}\n\n{STATUS}\n{end}"


def main() -> None:
    """Entry point of the console script."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    arguments = sys.argv[1:]
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
        sys.exit(f"pcfrl: unknown command {arguments[0]!r}{hint}\n\n{usage()}")


def run_or_explain(command: Callable[[], object], *mistakes: type[Exception]) -> None:
    """Run a command; a mistake in the input ends in one line on standard error and status 1, not in a traceback."""
    try:
        with stoppable():
            status = command()
    except BrokenPipeError:  # `pcfrl ... | head`; what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except mistakes as error:
        sys.exit(f"pcfrl: {error}")
    except Stopped as stop:
        if stop.text:
            print(f"pcfrl: {stop}", file=sys.stderr)
        sys.exit(stop.code)
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def stoppable() -> Iterator[None]:
    """While it lasts, SIGTERM and Ctrl-C raise `Stopped`, so that files are closed and temporary ones removed."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number, "before the end; what was finished before is kept")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
