"""``pcfrl report RUN... --out DIR``: one page with tables and figures of any runs."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pcfrl_lightning.cli.arguments import OneLineArguments
from pcfrl_lightning.printing import plain_console

if TYPE_CHECKING:
    from pcfrl_lightning.data.module import FaceData

EPILOG = """RUN is a folder, or NAME=FOLDER: of a pretraining (runs/pretrain/version_0), of `pcfrl evaluate`,
`pcfrl ablate`, `pcfrl sweep` or `pcfrl demo`. Folders with the same NAME are seeds of one setting and get intervals.
What a run does not hold is left out, with a line that says which command makes it.

Figures that show faces take those of the run's own config if its files are there, else rendered ones with true labels;
--data names others: pcfrl report RUN --out DIR --data fer2013 --data-root FER2013"""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl report`; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out {options.out} is a file; give a folder")
    try:
        data = _data(options.data, options.data_root, options.option)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    from pcfrl_lightning.reports.build import write_report

    say = plain_console().print
    report = write_report(options.runs, options.out, data, partial(say, style="dim"))
    say(f"report: {report}", soft_wrap=True)
    return 0


def _data(name: str | None, root: str | None, options: Sequence[str]) -> "FaceData | None":
    """The data module that the options name: a published data set, or a class of `pcfrl_lightning.data`."""
    if name is None:
        if root is not None or options:
            raise ValueError("--data-root and --option go with --data")
        return None
    from pcfrl_lightning import data
    from pcfrl_lightning.cli.options import data_options
    from pcfrl_lightning.data.releases.registry import DATA_SETS
    from pcfrl_lightning.errors import near

    own = {each: getattr(data, each) for each in ("FaceFolder", "LabelledFolder", "SyntheticFaces", "VoxCeleb")}
    known = DATA_SETS | own
    if name not in known:
        raise ValueError(f"--data {name} is not known{near(name, known)}; known are {', '.join(sorted(known))}")
    if root is None and name != "SyntheticFaces":
        raise ValueError(f"--data {name} needs --data-root, the folder of the images")
    kind = known[name]
    made: FaceData = kind(root, **data_options(kind, options))
    made.build()  # an absent folder is said before weights are read
    return made


def _parser() -> argparse.ArgumentParser:
    parser = OneLineArguments("pcfrl report", description=__doc__, epilog=EPILOG)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or NAME=FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of report.html and report.md")
    parser.add_argument("--data", metavar="NAME", help="faces of the figures: a published set, FaceFolder, ...")
    parser.add_argument("--data-root", metavar="ROOT", help="their folder")
    option = "an option of the data as in a config; repeat for more"
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=option)
    return parser
