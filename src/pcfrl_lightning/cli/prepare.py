"""``pcfrl data prepare-voxceleb`` and ``pcfrl data merge``: from released videos to a pack of small frames."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pcfrl_lightning.cli.arguments import positive
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


def add_commands(actions: Any) -> None:
    """The two commands as actions of ``pcfrl data``."""
    maker = actions.add_parser(
        "prepare-voxceleb",
        help="make a pack of small frames from VoxCeleb or other videos",
        description=_PREPARE,
        epilog=_SOURCES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = maker.add_argument
    add("sources", nargs="+", type=Path, metavar="SRC", help="folders, videos, zip archives or parts of one")
    add("target", type=Path, metavar="DST", help="folder of the pack, or of one shard")
    add("--size", type=_side, default=64, help="side of a frame in pixels (default 64)")
    add("--fps", type=_rate, default=6.0, help="frames a second of videos (default 6)")
    add("--quality", type=_quality, default=95, help="of JPEG, 1 to 100; 0: raw pixels (default 95)")
    add("--crop-faces", type=Path, metavar="YUNET.onnx", help="cut out faces, for videos that are not crops")
    add("--margin", type=float, default=0.15, help="around a face, a share of its side (default 0.15)")
    add("--workers", type=positive, default=cores(), help=f"processes (default {cores()}, the cores here)")
    add("--shard", type=_shard, default=(1, 1), metavar="I/N", help="every N-th part from the I-th on, I from 1")
    add("--unusable", type=_share, default=0.01, metavar="SHARE", help="of clips at most (default 0.01)")
    add("--dry-run", action="store_true", help="count, try some clips, say hours and bytes, write nothing")
    merger = actions.add_parser("merge", help="join the shards of a pack, and verify them")
    merger.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="folders that --shard wrote")
    merger.add_argument("target", type=Path, metavar="DST", help="folder of the pack; may be one of the shards")


def prepare_voxceleb(options: argparse.Namespace) -> int:
    """Run ``prepare-voxceleb``."""
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


def merge_shards(options: argparse.Namespace) -> int:
    """Run ``merge``."""
    from pcfrl_lightning.data.prepare import merge

    merge(options.shards, options.target)
    print(f"{options.target}: complete and verified")
    return 0


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/8 or 8/8, got {text!r}")
    return int(number), int(count)


def _side(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"must be from 1 to {_LARGEST_SIDE}, got {text}")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _quality(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be 0 (raw) or 1 to 100, got {text}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 1, got {text}")
    return value
