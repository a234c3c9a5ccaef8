"""Labels in contrast files and tables, matched to the classes of a model."""

from collections.abc import Sequence
from difflib import get_close_matches

from deeploc.errors import TaskError


class ClassNames:
    """The names of a model's classes; without names, classes are addressed by number.

    A label means the class of that name; case is ignored and underscores count as spaces. A class
    whose first name is the label is preferred to one that has it as a later name (ImageNet's 657
    is "missile", its 744 "projectile, missile"); a number that is not a name is the number of a
    class, counted from 0.

    Parameters
    ----------
    classes
        The names of every class, in class order; empty where the model names none.
    n_classes
        Number of classes.

    Examples
    --------
    >>> names = ClassNames([["missile"], ["tabby cat", "n02123045"], ["projectile", "missile"]], 3)
    >>> [names.number(label, "") for label in ("Missile", "tabby_cat", "N02123045", "2")]
    [0, 1, 1, 2]
    """

    def __init__(self, classes: Sequence[Sequence[str]], n_classes: int) -> None:
        self._n_classes = n_classes
        self._first: dict[str, list[int]] = {}
        self._any: dict[str, list[int]] = {}
        for number, names in enumerate(classes):
            plain = list(dict.fromkeys(map(_plain, names)))
            for name in plain:
                self._any.setdefault(name, []).append(number)
            for name in plain[:1]:
                self._first.setdefault(name, []).append(number)

    def number(self, label: str, place: str) -> int:
        """Return the number of the class that a label means, counted from 0.

        Parameters
        ----------
        label
            A name or a number of a class.
        place
            Where the label stands, for messages.

        Raises
        ------
        TaskError
            If the label means no class, or several.
        """
        name = _plain(label)
        matches = self._first.get(name) or self._any.get(name) or self._numbered(name)
        if len(matches) == 1:
            return matches[0]
        if matches:
            several = " and ".join(map(str, matches))
            raise TaskError(
                f"{place}: {label!r} is the name of the classes {several}; "
                "give the number, or another of its names"
            )
        raise TaskError(f"{place}: the model has no class {label!r}; {self._known(name)}")

    def _numbered(self, name: str) -> list[int]:
        number = int(name) if name.isascii() and name.isdecimal() else self._n_classes
        return [number] if number < self._n_classes else []

    def _known(self, name: str) -> str:
        numbers = f"a number from 0 to {self._n_classes - 1}"
        if not self._any:
            return f"its classes have no names: give {numbers}"
        near = get_close_matches(name, self._any, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        some = ", ".join(list(self._first)[:5])
        return (
            f"{hint}its classes are {some}{', ...' if len(self._first) > 5 else ''}; or {numbers}"
        )


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
