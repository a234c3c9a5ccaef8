"""The type of options that take several names, separated by commas."""

from typing import Any

import click


class Listed(click.ParamType[tuple[str, ...]]):
    """One or more names, separated by commas.

    Parameters
    ----------
    *choices
        The names that there are; none: any.
    """

    def __init__(self, *choices: str) -> None:
        self.choices = choices
        self.name = ",".join(choices) or "NAME,NAME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, each once."""
        parts = value if isinstance(value, tuple) else value.split(",")
        given = tuple(dict.fromkeys(part.strip() for part in parts))
        if unknown := [name for name in given if not name or name not in (self.choices or given)]:
            known = f"; choose among {', '.join(self.choices)}" if self.choices else ""
            kind = "format" if self.choices else "name"
            self.fail(f"{unknown[0]!r} is no {kind}{known}", param, ctx)
        return given
