"""``pcfrl evaluate``: every downstream probe for one or several encoders, in one table."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from pcfrl_lightning.cli.arguments import OneLineArguments, add_source_options
from pcfrl_lightning.cli.options import task_options
from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop, UprightCrop, YuNetCrop
from pcfrl_lightning.errors import CTRL_C, Stopped
from pcfrl_lightning.evaluate.folders import folders_of
from pcfrl_lightning.evaluate.run import EPOCHS, Row, Settings, Weights, run_tasks
from pcfrl_lightning.evaluate.summary import Summary, default_folder, source_name, source_sha256, write_csv
from pcfrl_lightning.evaluate.table import notes, results_table
from pcfrl_lightning.evaluate.tasks import TASKS, tasks_named
from pcfrl_lightning.networks.encoder import load_encoder
from pcfrl_lightning.networks.stored import locate
from pcfrl_lightning.printing import plain_console
from pcfrl_lightning.probes.features.extract import Precision

EPILOG = """data sets are looked for in ROOT/<folder>:
{folders}

An absent data set is listed as absent. Each task writes OUT/<task>/<weights>/results.json, all together
OUT/summary.json, to which later runs with the same settings add, and OUT/table.csv. Several encoders get a folder
OUT/<name> each, and the table is of all; the name has the folder of the run in it. Exit status 1 if a data set that is
there could not be evaluated or none is there, 2 for a wrong option, 130 after an interruption."""


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl evaluate`; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    root = Path(options.data_root)
    if not root.is_dir():
        parser.error(f"--data-root {root} is not a folder")
    say = plain_console().print
    try:
        tasks = tasks_named(options.tasks)
        chosen = task_options(options.option, tasks)
        data = folders_of(root, _cropping(options.cropping, options.yunet_model), chosen)
        each = _settings(options)
        names, cropping = [task.name for task in tasks], options.cropping or "default"
        summaries = []
        for settings in each:
            settings.out.mkdir(parents=True, exist_ok=True)
            summaries.append(Summary(settings.out / "summary.json", settings, cropping, options.option, names))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    weights: list[Weights] = ["random_init", "pretrained"] if options.with_random else ["pretrained"]
    rows: list[Row] = []
    for settings, summary in zip(each, summaries, strict=True):
        try:
            for row in run_tasks(tasks, weights, settings, data, partial(say, style="dim")):
                rows.append(row)
                summary.add(row)
        except (KeyboardInterrupt, SystemExit) as stop:  # Lightning turns the one into the other
            where = f"the same command goes on with the features in {settings.out}"
            say(f"interrupted after {len(rows)} results; {where}")
            return int(stop.code or CTRL_C) if isinstance(stop, Stopped) else CTRL_C
    features = ", ".join(dict.fromkeys(row.feature for row in rows))
    title = f"{features} of {', '.join(settings.name for settings in each)}, last epoch of {options.epochs}"
    say(results_table(rows, title))
    lines = [*notes(rows), *(f"summary: {summary.path}" for summary in summaries)]
    if options.out or len(each) == 1:
        table = Path(options.out or each[0].out) / "table.csv"
        write_csv(table, summaries)
        lines.append(f"table: {table}")
    for line in lines:
        say(line, soft_wrap=True)
    return 1 if any(row.status == "failed" for row in rows) or all(row.status == "absent" for row in rows) else 0


def _settings(options: argparse.Namespace) -> list[Settings]:
    """Of each encoder, with the features that it has; one that is given twice counts once."""
    found, files = list[Settings](), dict[Path, str]()
    for source in options.sources:
        files.setdefault(locate(source).resolve(), source)
    names = [source_name(source) for source in files.values()]
    for source in files.values():
        weights = options.weights if source.startswith(("timm:", "torchvision:")) else None
        name = source_name(source)
        if names.count(name) > 1:
            name += f"-{source_sha256(source, weights)[:8]}"
        if any(settings.name == name for settings in found):
            continue  # a copy of one before
        known = (*load_encoder(source, trust=options.trust, weights=weights).feature_names, "concat")
        features = tuple(name for name in dict.fromkeys(options.feature) if name in known)
        if not features:
            raise ValueError(f"{source} has no feature {', '.join(options.feature)}; it has {', '.join(known)}")
        out = Path(options.out or "") / (name if len(files) > 1 else "")
        more: dict[str, Any] = {"weights": weights, "trust": tuple(options.trust), "name": name}
        more["precision"] = options.precision
        settings = Settings(source, out, features, options.epochs, options.seed, **more)
        found.append(settings if options.out else replace(settings, out=default_folder(settings, options.cropping)))
    if options.weights and not any(settings.weights for settings in found):
        raise ValueError("--weights goes with timm:NAME or torchvision:NAME")
    return found


def _cropping(name: str | None, yunet_model: str | None) -> Cropper | None:
    if (name == "yunet") != (yunet_model is not None):
        raise ValueError("--cropping yunet and --yunet-model PATH belong together")
    if yunet_model is not None:
        return YuNetCrop(yunet_model)
    return {None: None, "none": NoCrop(), "landmarks": UprightCrop()}[name]


def _parser() -> OneLineArguments:
    folders = "\n".join(f"  {task.name:<13} ROOT/{task.folder}" for task in TASKS)
    parser = OneLineArguments(
        "pcfrl evaluate",
        description="Run the downstream probes of the paper on frozen features and print one table.",
        epilog=EPILOG.format(folders=folders),
    )
    source = "checkpoint of `pcfrl fit` or `pcfrl import-pcl`, exported folder, timm:, torchvision: or pretrained:NAME"
    parser.add_argument("sources", nargs="+", metavar="ENCODER", help=source)
    add_source_options(parser)
    parser.add_argument("--data-root", required=True, metavar="ROOT", help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="tasks to run (default: all)")
    feature = "f_s (default), f_f, f_p, or concat: all side by side; several are measured in one pass over the images"
    parser.add_argument("--feature", nargs="+", default=["f_s"], metavar="NAME", help=feature)
    parser.add_argument("--with-random", action="store_true", help="add the untrained network of the same architecture")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the linear probes (default: {EPOCHS})")
    parser.add_argument("--seed", type=int, default=0, help="of heads, order and the untrained network (default: 0)")
    precision = "of the network: bf16 where the GPU or the CPU has it (auto, the default), float32, tf32 or bf16"
    parser.add_argument("--precision", choices=get_args(Precision), default="auto", help=precision)
    cropping = "how faces are cut out, where a data set leaves it open (default: as each data set does by itself)"
    parser.add_argument("--cropping", choices=("none", "landmarks", "yunet"), help=cropping)
    option = "an option of the data set of one task as in a config, such as disfa.camera=right; repeat for more"
    parser.add_argument("--option", action="append", default=[], metavar="TASK.KEY=VALUE", help=option)
    parser.add_argument("--yunet-model", metavar="PATH", help="ONNX file of the detector, for --cropping yunet")
    parser.add_argument("--out", help="folder of the results (default: runs/evaluate/<name>-<hash>-<feature>)")
    return parser
