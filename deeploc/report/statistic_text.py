"""What a contrast's statistic is called."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class StatisticWords(NamedTuple):
    """The name of a statistic in a sentence, and its symbol: the head of a column or an axis."""

    name: str
    symbol: str


_WORDS = {
    "welch": StatisticWords("Welch's t", "t"),
    "paired": StatisticWords("the t of paired stimuli", "t"),
    "mann-whitney": StatisticWords("z of the Mann-Whitney test", "z"),
    "d-prime": StatisticWords("d'", "d'"),
    "selectivity-index": StatisticWords("the selectivity index", "index"),
}


def words_of(contrast: Mapping[str, Any]) -> StatisticWords:
    """Return what the statistic of a contrast is called; older runs do not name Welch's.

    That of a plugin is called by its name.

    Parameters
    ----------
    contrast
        The contrast as JSON, as the manifest holds it.

    Examples
    --------
    >>> words_of({"statistic": "mann-whitney"})
    StatisticWords(name='z of the Mann-Whitney test', symbol='z')
    """
    given = contrast.get("statistic")
    name = given if isinstance(given, str) else "welch"
    return _WORDS.get(name, StatisticWords(name, name))
