"""jsonargparse makes the parser of a class anew for each value of a command line, half of the time of such a test."""

from typing import Any

from jsonargparse import _typehints as hints


def keep_parsers() -> None:
    """Keep the parser of a class with the same arguments for as long as the tests run."""
    made: dict[Any, Any] = {}
    make = hints.ActionTypeHint.get_class_parser

    def kept(val_class: Any, sub_add_kwargs: Any = None, skip_args: Any = None) -> Any:
        cls = hints.import_object(val_class) if isinstance(val_class, str) else val_class
        around = hints.parent_parser.get()
        rest = sub_add_kwargs, skip_args, hints.nested_links.get(), type(around), around.parser_mode
        key = cls, repr(rest)
        if key not in made:
            made[key] = make(cls, sub_add_kwargs, skip_args)
        return made[key]

    hints.ActionTypeHint.get_class_parser = staticmethod(kept)
