"""The attention and the recurrent modules of a block: those that mix positions."""

from collections.abc import Collection
from dataclasses import dataclass

from .mixing import Entered, Observed
from .paths import above, common_module, holds


@dataclass(frozen=True)
class Mixer:
    """A module that mixes positions.

    Parameters
    ----------
    path
        Of the module; where a block does it itself, of its output projection.
    attends
        Whether by the weights of attention.
    projection
        The linear layer that takes what was mixed; ``None`` where it is not called as a module.
    n_heads
        Number of attention heads; 0: unknown.
    """

    path: str
    attends: bool
    projection: str | None
    n_heads: int


def mixers_of(block: str, observed: Observed, linear: Collection[str]) -> list[Mixer]:
    """Return the modules inside a block that mix positions, in the order of the forward pass.

    A mixer is the smallest module that holds both the layer which takes what was mixed and the
    layer before it. It attends where weights over positions were computed between these.

    Parameters
    ----------
    block
        The path of the block.
    observed
        What was seen of positions.
    linear
        Paths of the linear layers.
    """
    inside = [entered for entered in observed.entered if entered.path.startswith(f"{block}.")]
    found: dict[str, Mixer] = {}
    before = ""
    for place, entered in enumerate(inside):
        if entered.mixed and before:
            later = [e.path for e in inside[place:] if e.path in linear]
            mixer = _mixer(block, before, entered, later[0] if later else None)
            known = found.get(mixer.path)
            found[mixer.path] = known if known and known.attends else mixer
        if entered.path in linear:
            before = entered.path
    alone = [e for e in observed.alone if holds(block, e.path)]
    found |= {e.path: Mixer(e.path, e.attention is not None, None, 0) for e in alone}
    mixers = [m for m in found.values() if m.path != block and (m.attends or m.path not in linear)]
    return [m for m in mixers if not any(o != m and holds(o.path, m.path) for o in mixers)]


def _mixer(block: str, before: str, entered: Entered, projection: str | None) -> Mixer:
    inside = projection if projection and holds(entered.path, projection) else None
    path = common_module(before, entered.path)
    if len(path) <= len(block) and (alone := _closed(before, entered)):
        return Mixer(alone, True, None, 0)
    attention = (
        entered.attention if entered.attention and holds(path, entered.attention[0]) else None
    )
    if len(path) <= len(block):  # all is done by the block itself
        path = inside or block
    return Mixer(path, attention is not None, inside, attention[1] if attention else 0)


def _closed(before: str, entered: Entered) -> str | None:
    """Return the module that attends, where no linear layer in it takes what it mixed.

    A mixture of attentions leads back by products with parameters, and the next linear layer is one
    of the MLP behind it.
    """
    if entered.attention is None:
        return None
    attends = entered.attention[0]
    shared = common_module(attends, entered.path)
    around = (path for path in (*above(attends), attends) if len(path) > len(shared))
    whole = next(around, None)
    return whole if whole and holds(whole, before) else None
