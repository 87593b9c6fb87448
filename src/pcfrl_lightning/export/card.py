"""README.md of an exported folder: what the encoder is, what it was trained on, how good it is, and its limits."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml

from pcfrl_lightning.errors import DataError, one_line
from pcfrl_lightning.export.graphs import Exported
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.networks.encoder import Encoder
from pcfrl_lightning.probes.results import blocks

_RECIPE = {
    "method": "model.class_path",
    "data": "data.class_path",
    "images": "data.init_args.root",
    "side of the images, px": "model.init_args.image_size",
    "images per step and process": "data.init_args.batch_size",
    "epochs of the schedule": "trainer.max_epochs",
    "learning rate": "optimizer.init_args.lr",
    "precision": "trainer.precision",
    "seed": "seed_everything",
}
"""What is said about a run, and where its config.yaml has it."""

_CARD = Template("""---
library_name: pcfrl-lightning
license: $license
pipeline_tag: image-feature-extraction
tags: [face, self-supervised, representation-learning]
---

# $name

A frozen encoder of face images, exported by pcfrl-lightning. Features: $features. Trained at $image_size px, evaluated
at $embed_size px.

## Use

    from pcfrl_lightning import load_encoder

    encoder = load_encoder("FOLDER")                # this folder, or hf:OWNER/NAME
    features = encoder.embed(["a.jpg", "b.jpg"])    # {"$first": (2, D), ...}

$graphs

## Training

$training

## Results

$results

## Licence

$licence

## Intended use

Research on faces: features for expression, pose, action units, attributes, and for comparing encoders. Cut out faces as
the training images were.

## Limits

- Not made and not tested for recognising or watching people, nor for decisions about them.
- Errors differ between groups of people as far as the training images do; this was not measured here.
- Features of pictures without a face, of crops unlike the training images, or of other sizes mean little.
""")


def model_card(
    name: str,
    encoder: Encoder,
    graphs: Sequence[Exported] = (),
    checkpoint: Path | None = None,
    data: str = "",
    results: Sequence[Path] = (),
    license: str = "other",
) -> str:
    """The text of the card.

    Args:
        name: title.
        encoder: what was exported.
        graphs: files beside its weights.
        checkpoint: of a run; its epoch is told, and the recipe of the ``config.yaml`` beside its folder.
        data: what it was trained on, in words.
        results: results.json or summary.json files of its evaluation.
        license: identifier as the hub has them, such as ``apache-2.0``.

    Raises:
        FileNotFoundError: a file of results does not exist.
        DataError: it is no such file.
    """
    unknown = "Not stated. The licences of the training images apply; most sets of faces are for research only."
    return _CARD.substitute(
        name=name,
        license=license,
        licence=unknown if license == "other" else f"Weights: {license}. Licences of training images apply as well.",
        features=", ".join(f"`{each}`" for each in encoder.feature_names),
        first=encoder.feature_names[0],
        image_size=encoder.image_size,
        embed_size=encoder.embed_size,
        graphs="\n".join(map(_graph, graphs)) or "There is no graph for other programs here (`pcfrl export --format`).",
        training="\n".join([*([data] if data else []), *_recipe(checkpoint)]) or "Not stated.",
        results=results_table(results) or "None given.",
    )


def _graph(each: Exported) -> str:
    shapes = ", ".join("x".join(map(str, shape)) for shape in each.batches)
    size = "any height and width" if each.any_size else f"{each.batches[0][1]} px only"
    return (
        f"`{each.path.name}`: input `images` (B, 3, H, W), RGB, {each.pixels}, {size}; normalisation is inside. "
        f"Largest difference from PyTorch {each.difference:.1e} (batches x height x width: {shapes})."
    )


def _recipe(checkpoint: Path | None) -> list[str]:
    """Lines of a table, from the folder of a run as far as it is there."""
    if checkpoint is None:
        return []
    content = read_checkpoint(checkpoint)
    # not `epoch`, which is one more in what is written when the training ends
    epochs = _at(content, "loops.fit_loop.epoch_progress.current.processed")
    found = {"epochs done": epochs, "steps": content.get("global_step")}
    file = checkpoint.parent.parent / "config.yaml"
    if file.is_file():
        try:
            config = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise DataError(f"{file}: not the config of a run ({one_line(error, 120)}); mend or remove it") from None
        found |= {what: _at(config, path) for what, path in _RECIPE.items()}
        images = found["images"]
        found["images"] = Path(images).name if isinstance(images, str) else None  # folders above it are the user's own
    # nothing else is a cell of the table; aliases of yaml can stand for more text than there is memory
    told = {what: " ".join(str(value).split()) for what, value in found.items() if isinstance(value, (str, int, float))}
    rows = [f"| {what} | {value[:200].replace('|', '/')} |" for what, value in told.items() if value != "None"]
    return ["", "| recipe | |", "|---|---|", *rows]


def _at(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def results_table(paths: Sequence[Path]) -> str:
    """A table of the numbers in files of `pcfrl test` and `pcfrl evaluate`; see `model_card` for what is refused."""
    rows = []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; give a results.json of pcfrl test or a summary.json")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows += _summary_rows(content["rows"]) if "rows" in content else _result_rows(content)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise DataError(f"{path} is no results.json of pcfrl test and no summary.json of pcfrl evaluate") from None
    head = ["| task | data | feature | metric | value |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", "Frozen features, last epoch."]) if rows else ""


def _summary_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"| {row['task']} | {row['dataset']} | {row['feature']} | {row['metric']} | {row['value']:.4f} |"
        for row in rows
        if row["status"] == "measured" and row["weights"] == "pretrained"
    ]


def _result_rows(content: dict[str, Any]) -> list[str]:
    found = []
    for feature, block in blocks(content).items():
        numbers = {key: value for key, value in block["metrics"]["last"].items() if isinstance(value, float)}
        where = f"{content['task']} | {content['dataset']} | {feature}"
        found += [f"| {where} | {metric} | {value:.4f} |" for metric, value in numbers.items()]
    return found
