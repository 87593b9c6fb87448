"""``pcfrl neighbours CKPT FACES --query IMAGE --out sheet.png``: the nearest faces by each feature, to look at."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pcfrl_lightning.cli.arguments import OneLineArguments, positive
from pcfrl_lightning.cli.embed import add_job_options, make_job
from pcfrl_lightning.embedding.inputs import open_input
from pcfrl_lightning.embedding.nearest import nearest
from pcfrl_lightning.evaluate.summary import source_name

EPILOG = """CKPT and FACES are those of `pcfrl embed`. The sheet shows what a feature holds: by F_f faces of the same
person or expression should be near, by F_p those in the same pose. Pictures with the pixels of a query are passed over.
Exit status 0 if all pictures were read, 1 if some were not (the sheet is written) or nothing was possible."""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl neighbours`; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out.suffix.lower() not in (".png", ".svg", ".pdf"):
        parser.error(f"--out {options.out}: give a name that ends in .png, .svg or .pdf")
    if options.out.is_dir():
        parser.error(f"--out {options.out} is a folder; give the name of a file in it")
    from pcfrl_lightning.figures.neighbours import is_neighbour_sheet, save_neighbour_sheet

    if options.out.exists() and not is_neighbour_sheet(options.out):
        parser.error(f"--out {options.out} is there and no sheet of this command; it is not replaced, give another")
    options.out.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before faces are looked at
    job = make_job(parser, options, options.faces)
    queries = replace(job, inputs={text: open_input(text, options.fps) for text in options.query})
    found, unreadable = nearest(job, queries, options.count)
    title = f"{source_name(options.encoder)}: nearest faces in {', '.join(Path(text).name for text in options.faces)}"
    save_neighbour_sheet(found, title, options.out)
    for line in unreadable:
        print(f"left out: {line.encode('utf-8', 'backslashreplace').decode()}", file=sys.stderr)
    print(f"wrote {options.out}: {len(found)} queries, {', '.join(job.features)}; {len(unreadable)} left out")
    return 1 if unreadable else 0


def _parser() -> argparse.ArgumentParser:
    parser = OneLineArguments("pcfrl neighbours", description=__doc__, epilog=EPILOG)
    parser.add_argument("encoder", metavar="CKPT", help="whose features")
    parser.add_argument("faces", nargs="+", metavar="FACES", help="where to look: folder, zip, list, images, videos")
    parser.add_argument("--query", nargs="+", required=True, metavar="IMAGE", help="whose neighbours")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write: .png, .svg or .pdf")
    parser.add_argument("--count", type=positive, default=8, help="faces per row (default 8)")
    add_job_options(parser)
    parser.set_defaults(limit=None)
    return parser
