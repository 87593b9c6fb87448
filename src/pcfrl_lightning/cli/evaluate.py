"""``pcfrl evaluate``: every downstream probe for one checkpoint, in one table."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pcfrl_lightning.cli.messages import OneLineArguments

if TYPE_CHECKING:
    from pcfrl_lightning.data.cropping.croppers import Cropper

EPILOG = """data sets are looked for in ROOT/<folder>:
{folders}

An absent data set is listed as absent. Each task writes OUT/<task>/<weights>/results.json, all together
OUT/summary.json, to which later runs with the same settings add. Exit status 1 if a data set that is there could not be
evaluated or none is there, 130 after an interruption."""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl evaluate`; returns the exit status."""
    from pcfrl_lightning.cli.options import task_options
    from pcfrl_lightning.evaluate.folders import folders_of
    from pcfrl_lightning.evaluate.run import Row, Settings, Weights, run_tasks
    from pcfrl_lightning.evaluate.summary import Summary, default_folder
    from pcfrl_lightning.evaluate.table import notes, results_table
    from pcfrl_lightning.evaluate.tasks import tasks_named
    from pcfrl_lightning.networks.checkpoint import read_checkpoint

    parser = _parser()
    options = parser.parse_args(arguments)
    root = Path(options.data_root)
    if not root.is_dir():
        parser.error(f"--data-root {root} is not a folder")
    console = Console()
    try:
        read_checkpoint(options.checkpoint)
        out = Path(options.out or default_folder(options.checkpoint, options.feature, options.cropping))
        tasks = tasks_named(options.tasks)
        settings = Settings(options.checkpoint, out, options.feature, options.epochs, options.seed)
        data = folders_of(root, _cropping(options.cropping, options.yunet_model), task_options(options.option, tasks))
        out.mkdir(parents=True, exist_ok=True)
        names = [task.name for task in tasks]
        summary = Summary(out / "summary.json", settings, options.cropping or "default", options.option, names)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    weights: list[Weights] = ["random_init", "pretrained"] if options.with_random else ["pretrained"]
    rows: list[Row] = []

    def record(row: Row) -> None:
        rows.append(row)
        summary.add(row)

    try:
        run_tasks(tasks, weights, settings, data, lambda text: console.print(text, style="dim"), record)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        console.print(f"interrupted after {len(rows)} results; the same command goes on with the features in {out}")
        return 130
    title = f"{settings.feature} of {Path(options.checkpoint).name}, last epoch of {settings.epochs}"
    console.print(results_table(rows, title))
    for line in (*notes(rows), f"summary: {summary.path}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return 1 if any(row.status == "failed" for row in rows) or all(row.status == "absent" for row in rows) else 0


def _cropping(name: str | None, yunet_model: str | None) -> "Cropper | None":
    from pcfrl_lightning.data.cropping.croppers import NoCrop, UprightCrop, YuNetCrop

    if (name == "yunet") != (yunet_model is not None):
        raise ValueError("--cropping yunet and --yunet-model PATH belong together")
    if yunet_model is not None:
        return YuNetCrop(yunet_model)
    return {None: None, "none": NoCrop(), "landmarks": UprightCrop()}[name]


def _parser() -> OneLineArguments:
    from pcfrl_lightning.evaluate.run import EPOCHS
    from pcfrl_lightning.evaluate.tasks import TASKS

    folders = "\n".join(f"  {task.name:<13} ROOT/{task.folder}" for task in TASKS)
    parser = OneLineArguments(
        "pcfrl evaluate",
        description="Run the downstream probes of the paper on frozen features and print one table.",
        epilog=EPILOG.format(folders=folders),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="file written by `pcfrl fit` or `pcfrl import-pcl`")
    parser.add_argument("--data-root", required=True, metavar="ROOT", help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="tasks to run (default: all)")
    parser.add_argument("--feature", default="f_s", choices=("f_s", "f_f", "f_p", "concat"), help="default: f_s")
    parser.add_argument("--with-random", action="store_true", help="add the untrained network of the same architecture")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the linear probes (default: {EPOCHS})")
    parser.add_argument("--seed", type=int, default=0, help="of heads, order and the untrained network (default: 0)")
    parser.add_argument(
        "--cropping",
        choices=("none", "landmarks", "yunet"),
        help="how faces are cut out, where a data set leaves it open (default: as each data set does by itself)",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="TASK.KEY=VALUE",
        help="an option of the data set of one task as in a config, such as disfa.camera=right; repeat for more",
    )
    parser.add_argument("--yunet-model", metavar="PATH", help="ONNX file of the detector, for --cropping yunet")
    parser.add_argument("--out", help="folder of the results (default: runs/evaluate/<name>-<hash>-<feature>)")
    return parser
