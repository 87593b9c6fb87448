"""``pcfrl disentangle``: what F_s, F_f and F_p hold of pose, identity and expression, beside the untrained network."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcfrl_lightning.cli.arguments import OneLineArguments, add_source_options, number, positive
from pcfrl_lightning.printing import plain_console

EPILOG = """Pose: error in degrees of a ridge regression that has not seen the people (five folds); near: difference in
pose to the nearest face of another person. Identity: share of faces whose nearest neighbour is of the same person, in
the same pose (within 10 degrees) and in another (30 degrees or more away); verif: area under the ROC curve of pairs.
Chance is the last line of each set. Several checkpoints of one training show precision and recall of calibrated pairs
over it. Writes OUT/disentangle.json and OUT/disentangle.txt; OUT is the folder of the run by default, else
runs/disentangle/NAME. Exit status 0 when all was measured, 1 when not, 2 for a wrong option."""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl disentangle`; returns the exit status."""
    options = _parser().parse_args(arguments)
    from pcfrl_lightning.evaluate.disentangle import measure_source
    from pcfrl_lightning.evaluate.disentangle_table import pairs_table, tables
    from pcfrl_lightning.evaluate.pose_sets import PoseFaces, pointing04, rendered_faces
    from pcfrl_lightning.evaluate.summary import source_name
    from pcfrl_lightning.networks.encoder import load_encoder
    from pcfrl_lightning.probes.results import command, hardware, versions, write_results

    if not options.images and not options.pointing04:
        raise ValueError("--images 0 leaves no faces: give --pointing04 ROOT, or a number of rendered faces")
    # what can be wrong comes before the minutes of rendering
    encoders = {name: load_encoder(name, trust=options.trust, weights=options.weights) for name in options.sources}
    sets: list[PoseFaces] = [pointing04(options.pointing04)] if options.pointing04 else []
    out = Path(options.out) if options.out else _folder_of(options.sources[0])
    out.mkdir(parents=True, exist_ok=True)
    if options.images:
        sets.insert(0, rendered_faces(options.images, options.image_size))
    results: list[dict[str, Any]] = []
    console = plain_console()
    for source, encoder in encoders.items():
        console.print(f"{source_name(source)}: {', '.join(known.name for known in sets)}", style="dim")
        results.append(measure_source(source, encoder, sets, options.image_size, options.seed, options.trust))
    about = {"image_size": options.image_size, "seed": options.seed, "hardware": hardware(), "versions": versions()}
    about |= {"sets": {known.name: len(known.faces) for known in sets}, "command": command(sys.argv)}
    path = write_results(out / "disentangle.json", {"encoders": results, **about})
    shown = [*tables(results), *pairs_table(results)]
    with (out / "disentangle.txt").open("w", encoding="utf-8", errors="backslashreplace") as file:
        plain_console(file=file, width=110).print(*shown)
    console.print(*shown)
    console.print(f"results: {path}", soft_wrap=True)
    return 0


def _folder_of(source: str) -> Path:
    from pcfrl_lightning.evaluate.summary import source_name
    from pcfrl_lightning.networks.stored import locate

    path = Path(source)
    if path.exists() and (file := locate(source)).parent.name == "checkpoints":
        return file.parents[1]
    return Path("runs/disentangle") / source_name(source)


def _parser() -> OneLineArguments:
    parser = OneLineArguments("pcfrl disentangle", description=__doc__, epilog=EPILOG)
    source = "checkpoint of `pcfrl fit` or `pcfrl import-pcl`, exported folder, timm:NAME or torchvision:NAME"
    parser.add_argument("sources", nargs="+", metavar="ENCODER", help=source)
    add_source_options(parser)
    images = "rendered faces to look at, 0 for none (default: 20000; rendered once, about 150 a second)"
    count = number(int, lambda value: value >= 0, "takes a whole number, 0 for none")
    parser.add_argument("--images", type=count, default=20_000, metavar="N", help=images)
    pointing = "folder or zip of Pointing'04, cut to the faces, named as in the release"
    parser.add_argument("--pointing04", metavar="ROOT", help=pointing)
    parser.add_argument("--image-size", type=positive, default=64, help="of the evaluation, pixels (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the untrained network (default: 0)")
    parser.add_argument("--out", metavar="FOLDER", help="where to write (default: the folder of the run)")
    return parser
