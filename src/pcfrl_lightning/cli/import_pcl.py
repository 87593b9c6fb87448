"""``pcfrl import-pcl``: convert a checkpoint of the public PCL code."""

from pathlib import Path

from pcfrl_lightning.cli.arguments import OneLineArguments
from pcfrl_lightning.networks.pcl_import import import_pcl


def main(arguments: list[str]) -> None:
    """Read the command line, convert, say where the result is."""
    parser = OneLineArguments(prog="pcfrl import-pcl", description="Convert a public PCL checkpoint.")
    parser.add_argument("source", type=Path, metavar="CKPT.pth", help="checkpoint of the public PCL code")
    parser.add_argument("target", type=Path, metavar="OUT.ckpt", help="where to write the converted checkpoint")
    options = parser.parse_args(arguments)
    if options.target.exists() and options.target.samefile(options.source):
        parser.error(f"{options.target} is the file that is converted; give another OUT.ckpt")
    import_pcl(options.source, options.target)
    print(f"wrote {options.target}: probe it with --model.checkpoint {options.target}")
