"""Labels by name or by number."""

from collections.abc import Sequence

from deeploc.errors import nearest

_MAX_DIGITS = 9


def label_name(value: str, names: Sequence[str]) -> str:
    """Return the label that a name or a number counted from 0 stands for; names take precedence.

    Parameters
    ----------
    value
        A name or a number.
    names
        The labels, in the order of their numbers.

    Raises
    ------
    ValueError
        If it is neither; lists the labels that exist.
    """
    text = value.strip()
    if text in names:
        return text
    number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    if number and int(text) < len(names):
        return names[int(text)]
    raise ValueError(
        f"there is no label {text[:40]!r}; {nearest(text[:40], names)}there are: "
        f"{', '.join(names)} (or 0 to {len(names) - 1})"
    )
