"""ranking.safetensors: what units are ranked by where that is not the statistic."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deeploc.atomic import Buffer
from deeploc.core.attributing import Attribution
from deeploc.core.units import Layout, StatMap
from deeploc.errors import RunError
from deeploc.runs.files import load_tensors, safetensors_parts

RANKING = "ranking.safetensors"
"""The name of the file."""


def ranking_parts(found: Attribution, layout: Layout) -> Iterator[Buffer]:
    """Yield the parts of ranking.safetensors: float64 ``attribution`` and ``gradient``."""
    return safetensors_parts({"attribution": found.attribution, "gradient": found.gradient}, layout)


def load_ranking(path: Path, stat_map: StatMap, by: str) -> StatMap:
    """Return the statistics with the ranking that ranking.safetensors holds.

    Parameters
    ----------
    path
        The file.
    stat_map
        The statistics of the same units.
    by
        ``attribution`` or ``gradient``.

    Raises
    ------
    RunError
        If the file is missing, broken, or of other units.
    """
    tensors, layout = load_tensors(path)
    if by not in tensors or layout.units != stat_map.layout.units:
        raise RunError(f"{path} holds no {by} of these units; run again")
    return replace(stat_map, ranking=tensors[by])
