"""What the command line and its yaml files say themselves, defaults of classes left out."""

from typing import Any

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.cli import ArgsType

from pcfrl_lightning.errors import UsageError


def given_values(parser: ArgumentParser, arguments: ArgsType) -> Namespace:
    """The configuration without defaults.

    Args:
        parser: the one of the command.
        arguments: those that were parsed; None: those of the process.
    """
    if isinstance(arguments, (dict, Namespace)):
        return parser.parse_object(arguments, defaults=False)
    return parser.parse_args(arguments, defaults=False)


def arguments_of(section: Any) -> Namespace:
    """``init_args`` of ``model`` or ``data``; empty where there are none."""
    return (section.get("init_args") if isinstance(section, Namespace) else None) or Namespace()


def seed_for(model: Any, given: Any, seed: Any) -> int | None:
    """The seed that ``seed_everything`` gives to the model, or None: it takes none, or has one of its own.

    Args:
        model: section of the configuration.
        given: the same without defaults.
        seed: ``seed_everything``; False: nothing is seeded.
    """
    wanted = "seed" in arguments_of(model) and "seed" not in arguments_of(given)
    return seed if wanted and isinstance(seed, int) and not isinstance(seed, bool) else None


class ImageSizeLink:
    """Gives ``model.image_size`` to the data module, and remembers what the data module was given itself.

    jsonargparse writes the value over the other without a word; `check` has one.
    """

    def __init__(self) -> None:
        self.conflicts: list[tuple[Any, Any]] = []

    def __call__(self, size: Any, data: Any) -> Any:
        """The size of the model."""
        given = arguments_of(data).get("image_size", size)
        if given != size:
            self.conflicts.append((given, size))
        return size

    def reset(self) -> None:
        """Forget the defaults of data modules: what comes now was given."""
        self.conflicts.clear()

    def check(self) -> None:
        """Refuse a size of the data that is not that of the model.

        Raises:
            UsageError: names both.
        """
        for given, size in self.conflicts:
            raise UsageError(f"data.image_size is {given}, but the model takes {size} pixels: set model.image_size")
