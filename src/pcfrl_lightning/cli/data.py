"""``pcfrl data``: check a data set or a pack on disk, make a pack of videos, join its shards."""

import argparse
import sys
from pathlib import Path

from pcfrl_lightning.cli.arguments import OneLineArguments, above_0, number, positive
from pcfrl_lightning.cli.options import data_options
from pcfrl_lightning.data.packs import Pack, is_pack
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.registry import DATA_SETS, data_class
from pcfrl_lightning.distributed import cores
from pcfrl_lightning.errors import Stopped

_LARGEST_SIDE = 4096

_PREPARE = """Take frames of videos, resize them and pack them into few files, from which
`pcfrl fit --data VoxCeleb --data.root DST` trains. Kill it whenever you like: the same command goes on where it was and
writes the same bytes."""
_SOURCES = """SRC: what was released, as it is, in any number and mixed:
  VoxCeleb2   the folder of vox2_dev_mp4_partaa ... and vox2_test_mp4.zip (or these files), which need not be
              joined or unpacked; or the unpacked <dev|test>/mp4/<id>/<video>/<clip>.mp4
  VoxCeleb1   unzippedFaces, unzippedIntervalFaces
  frames      frames/<id>/<video>/<clip>/<n>.jpg
  others      any folder of videos <identity>/<video>/<clip>.mp4, or less deep

Of videos, 6 frames a second are taken (of each 25 frames numbers 0, 4, 8, 12, 16, 20); of frame trees all. Clips that
cannot be used (no picture, cut off, damaged ...) are listed in DST/unusable.txt with the reason; more than 1 % of them
end the work.

  pcfrl data prepare-voxceleb /data/voxceleb2 /scratch/vox --dry-run     clips, hours and bytes
  pcfrl data prepare-voxceleb /data/voxceleb2 /scratch/vox
  pcfrl data prepare-voxceleb /data/voxceleb2 /scratch/vox-3 --shard 3/8   on one of eight machines
  pcfrl data merge /scratch/vox-* /scratch/vox
  pcfrl data check /scratch/vox                                           every checksum"""


def main(arguments: list[str]) -> int:
    """Run an action; exit status 0 if all is well, 1 if a check found something."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _check(options: argparse.Namespace) -> int:
    if options.root is None and is_pack(options.name):
        return _check_pack(options.name)
    if options.name not in DATA_SETS:
        hint = f"; choose from {', '.join(sorted(DATA_SETS))}"
        if Path(options.name).is_dir():
            hint = " and is no pack (no pack.json in it)"
        options.error(f"{options.name} is not the name of a data set{hint}")
    if options.root is None:
        options.error(f"ROOT, the folder of {options.name}, is missing")
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


def _prepare_voxceleb(options: argparse.Namespace) -> int:
    from pcfrl_lightning.data.cropping.croppers import YuNetCrop
    from pcfrl_lightning.data.prepare import Encoder, Plan, estimate, prepare
    from pcfrl_lightning.data.prepare.sources import find_clips

    crop = YuNetCrop(options.crop_faces, options.margin) if options.crop_faces else None
    encoder = Encoder(options.size, options.fps, options.quality, crop)
    print("looking for clips ...", file=sys.stderr, flush=True)
    plan = Plan(find_clips(options.sources), encoder, options.shard)
    if options.dry_run:
        print(estimate(plan, options.target, options.workers))
        return 0
    try:
        print(prepare(plan, options.target, options.workers, options.unusable))
    except Stopped as stop:
        stop.text += "; the same command goes on"
        raise
    return 0


def _merge(options: argparse.Namespace) -> int:
    from pcfrl_lightning.data.prepare import merge

    merge(options.shards, options.target)
    print(f"{options.target}: complete and verified")
    return 0


def _parser() -> OneLineArguments:
    parser = OneLineArguments("pcfrl data", description="Look at data sets on disk, and prepare them.")
    actions = parser.add_subparsers(dest="action", required=True)
    checker = actions.add_parser("check", help="verify a data set against the official release, or a pack")
    checker.set_defaults(run=_check, error=checker.error)
    names = f"{', '.join(sorted(DATA_SETS))}; or alone the folder or URL of a pack"
    checker.add_argument("name", metavar="NAME", help=names)
    checker.add_argument("root", nargs="?", type=Path, metavar="ROOT", help="folder of the data set")
    checker.add_argument("--no-decode", action="store_true", help="do not read every image")
    option = "an option of the data set as in a config, such as camera=right; repeat for more"
    checker.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=option)
    about = "make a pack of small frames from VoxCeleb or other videos"
    maker = actions.add_parser("prepare-voxceleb", help=about, description=_PREPARE, epilog=_SOURCES)
    maker.set_defaults(run=_prepare_voxceleb)
    side = number(int, lambda side: 1 <= side <= _LARGEST_SIDE, f"must be from 1 to {_LARGEST_SIDE}")
    quality = number(int, lambda quality: 0 <= quality <= 100, "must be 0 (raw) or 1 to 100")
    share = number(float, lambda share: 0 <= share <= 1, "must be a share from 0 to 1")
    add = maker.add_argument
    add("sources", nargs="+", type=Path, metavar="SRC", help="folders, videos, zip archives or parts of one")
    add("target", type=Path, metavar="DST", help="folder of the pack, or of one shard")
    add("--size", type=side, default=64, help="side of a frame in pixels (default 64)")
    add("--fps", type=above_0, default=6.0, help="frames a second of videos (default 6)")
    add("--quality", type=quality, default=95, help="of JPEG, 1 to 100; 0: raw pixels (default 95)")
    add("--crop-faces", type=Path, metavar="YUNET.onnx", help="cut out faces, for videos that are not crops")
    add("--margin", type=float, default=0.15, help="around a face, a share of its side (default 0.15)")
    add("--workers", type=positive, default=cores(), help=f"processes (default {cores()}, the cores here)")
    add("--shard", type=_shard, default=(1, 1), metavar="I/N", help="every N-th part from the I-th on, I from 1")
    add("--unusable", type=share, default=0.01, metavar="SHARE", help="of clips at most (default 0.01)")
    add("--dry-run", action="store_true", help="count, try some clips, say hours and bytes, write nothing")
    merger = actions.add_parser("merge", help="join the shards of a pack, and verify them")
    merger.set_defaults(run=_merge)
    merger.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="folders that --shard wrote")
    merger.add_argument("target", type=Path, metavar="DST", help="folder of the pack; may be one of the shards")
    return parser


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/8 or 8/8, got {text!r}")
    return int(number), int(count)
