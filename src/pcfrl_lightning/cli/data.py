"""``pcfrl data``: check a data set or a pack on disk, make a pack of videos, join its shards."""

from pathlib import Path

from pcfrl_lightning.cli.arguments import OneLineArguments
from pcfrl_lightning.cli.options import data_options
from pcfrl_lightning.cli.prepare import add_commands, merge_shards, prepare_voxceleb
from pcfrl_lightning.data.packs import Pack, is_pack
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.registry import DATA_SETS, data_class


def main(arguments: list[str]) -> int:
    """Run an action; exit status 0 if all is well, 1 if a check found something."""
    parser = OneLineArguments(prog="pcfrl data", description="Look at data sets on disk, and prepare them.")
    actions = parser.add_subparsers(dest="action", required=True)
    checker = actions.add_parser("check", help="verify a data set against the official release, or a pack")
    names = ", ".join(sorted(DATA_SETS))
    checker.add_argument("name", metavar="NAME", help=f"{names}; or alone the folder or URL of a pack")
    checker.add_argument("root", nargs="?", type=Path, metavar="ROOT", help="folder of the data set")
    checker.add_argument("--no-decode", action="store_true", help="do not read every image")
    checker.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the data set as in a config, such as camera=right; repeat for more",
    )
    add_commands(actions)
    options = parser.parse_args(arguments)
    if options.action == "prepare-voxceleb":
        return prepare_voxceleb(options)
    if options.action == "merge":
        return merge_shards(options)
    if options.root is None and is_pack(options.name):
        return _check_pack(options.name)
    if options.name not in DATA_SETS:
        hint = " and is no pack (no pack.json in it)" if Path(options.name).is_dir() else f"; choose from {names}"
        checker.error(f"{options.name} is not the name of a data set{hint}")
    if options.root is None:
        checker.error(f"ROOT, the folder of {options.name}, is missing")
    chosen = data_options(data_class(options.name), options.option)
    report = check(options.name, options.root, decode=not options.no_decode, **chosen)
    print(report)
    return 0 if report.ok else 1


def _check_pack(root: str) -> int:
    pack = Pack(root)
    problems = pack.verify()
    counts = ", ".join(f"{pack.facts[key]:,} {key}" for key in ("clips", "videos", "frames", "unusable"))
    print(*problems, f"{root}: {counts}; {len(problems) or 'no'} damaged files", sep="\n")
    return 1 if problems else 0
