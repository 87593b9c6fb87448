"""What a head was trained on.  A test that describes other data would report a figure for a training it never had."""

from pathlib import Path
from typing import Any

from pcfrl_lightning.data.provenance import describe_data
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.probes.parts import Plan
from pcfrl_lightning.probes.results import alignment_of

_NO_MATTER = {"cache", "download", "read_from"}
"""Settings of data sets that change no image and no label."""


def describe_training(data: Any, plan: Plan | None) -> dict[str, Any]:
    """Primitives for a checkpoint: training split, number of images, alignment and options of the data set; nothing
    where nothing is trained."""
    if plan is None or plan.train is None:
        return {}
    train = plan.train
    options = {key: value for key, value in describe_data(data, []).items() if key not in _NO_MATTER}
    return {"split": train.faces.name, "images": len(train.faces), "alignment": alignment_of(data), **options}


def check_training(stored: dict[str, Any] | None, here: dict[str, Any]) -> None:
    """Compare what is in the checkpoint of a head with what the command describes.

    Args:
        stored: see `describe_training`; None: nothing is known, as in files of earlier versions.
        here: the same of this run.

    Raises:
        UsageError: they differ; names every key with both values.
    """
    then = stored or {}
    differing = [f"{key} {then[key]}, not {here[key]}" for key in sorted(then.keys() & here) if then[key] != here[key]]
    if differing:
        raise UsageError(f"the head was trained with {'; '.join(differing)}: give the data options of its `pcfrl fit`")


def forget_test(folder: Path) -> None:
    """Remove the figures of an earlier head from a run folder, so that they are not taken for those of the new one."""
    for name in ("results.json", "metrics_test.csv"):
        (folder / name).unlink(missing_ok=True)
