"""``pcfrl data check NAME ROOT``: is a data set on disk complete and readable?"""

from pathlib import Path

from pcfrl_lightning.cli.messages import OneLineArguments
from pcfrl_lightning.cli.options import data_options
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.registry import DATA_SETS, data_class


def main(arguments: list[str]) -> int:
    """Print the report of a data set; exit status 0 if it is as its authors published it, else 1."""
    parser = OneLineArguments(prog="pcfrl data", description="Look at data sets on disk.")
    actions = parser.add_subparsers(dest="action", required=True)
    checker = actions.add_parser("check", help="verify counts, labels and images against the official release")
    checker.add_argument("name", choices=sorted(DATA_SETS), metavar="NAME", help=", ".join(sorted(DATA_SETS)))
    checker.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set")
    checker.add_argument("--no-decode", action="store_true", help="do not read every image")
    checker.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the data set as in a config, such as camera=right; repeat for more",
    )
    options = parser.parse_args(arguments)
    chosen = data_options(data_class(options.name), options.option)
    report = check(options.name, options.root, decode=not options.no_decode, **chosen)
    print(report)
    return 0 if report.ok else 1
