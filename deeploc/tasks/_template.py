"""Templates of prompts: the columns of an item are put into a text, and nothing else happens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    r"""A text in which ``{column}`` stands for what an item has there.

    Between braces is the exact name of a column, never a format or an attribute; ``{{`` and
    ``}}`` are braces that stay. What is put in is not looked into again.

    Raises
    ------
    ValueError
        If a brace stands alone, or no column is named.

    Examples
    --------
    >>> Template("{{{text}}} is {text.__class__}").columns
    ('text', 'text.__class__')
    >>> Template("Q: {question}\nA:").filled({"question": "Is {1} a set?"})
    'Q: Is {1} a set?\nA:'
    """

    text: str

    def __post_init__(self) -> None:
        for match in _BRACES.finditer(self.text):
            if len(match[0]) == 1:
                raise ValueError(
                    f"character {match.start() + 1} is a single {match[0]!r}; a column is written "
                    "{column}, a brace that stays {{ or }}"
                )
        if not self.columns:
            raise ValueError(
                f"{self.text!r} names no column, so that every prompt would be the same; "
                "write {column} where an item's own text goes"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that an item needs, each once, in order of first appearance."""
        names = (match[1] for match in _BRACES.finditer(self.text))
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def filled(self, fields: Mapping[str, str]) -> str:
        """Return the text with the columns of one item in it."""
        return _BRACES.sub(lambda m: m[0][0] if m[1] is None else fields[m[1]], self.text)
