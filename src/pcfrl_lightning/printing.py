"""The console of all commands."""

from typing import Any

from rich.console import Console


def plain_console(**options: Any) -> Console:
    """One that shows text as it is: in names of users brackets are no markup and ``:name:`` is no emoji.

    ``options`` are those of `rich.console.Console`.
    """
    return Console(markup=False, emoji=False, highlight=False, **options)
