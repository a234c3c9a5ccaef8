"""Several questions about several networks, at one error rate for all of them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from deeploc.core.stats import ALPHA

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Tested:
    """A hypothesis after the test.

    Parameters
    ----------
    p
        Its p value; None where it could not be tested.
    level
        The level at which it was tested; 0 where it was not, because one before it in its chain
        was not rejected.
    """

    p: float | None
    level: float

    @property
    def rejected(self) -> bool:
        """Whether the null hypothesis is rejected."""
        return self.p is not None and self.p <= self.level


def gatekeep(
    chains: Mapping[Name, Sequence[float | None]], level: float = ALPHA
) -> dict[Name, list[Tested]]:
    """Test chains of hypotheses so that any false rejection at all has probability <= ``level``.

    Every chain starts with an equal share of ``level``. Its hypotheses are tested in their order,
    each at the share that the chain holds, and the first that is not rejected ends it. A chain
    that is rejected to its end gives its share to those that are not, in equal parts. With chains
    of one hypothesis this is the procedure of Holm (1979), Scand. J. Stat. 6, 65-70.

    Source: the graphical procedure of Bretz et al. (2009), Stat. Med. 28, 586-604,
    doi:10.1002/sim.3495, which controls the family-wise error rate strongly.

    Parameters
    ----------
    chains
        Name -> p values of its hypotheses in their order; None is never rejected.
    level
        The family-wise error rate, between 0 and 1.

    Examples
    --------
    >>> results = gatekeep({"a": [0.02, 0.01], "b": [0.04]})
    >>> [[tested.rejected for tested in chain] for chain in results.values()]
    [[True, True], [True]]
    """
    chain = _Chains(chains, level)
    while chain.advance():
        pass
    return {name: chain.tested(name) for name in chains}


class _Chains(Generic[Name]):
    """How far each chain is rejected, and the share of the level that it holds."""

    def __init__(self, chains: Mapping[Name, Sequence[float | None]], level: float) -> None:
        self._chains = chains
        open_ = [name for name, chain in chains.items() if chain]
        self._share = {name: level / len(open_) if name in open_ else 0.0 for name in chains}
        self._passed = dict.fromkeys(chains, 0)

    def advance(self) -> bool:
        """Reject what can be rejected now; return whether a share was passed on."""
        for name, chain in self._chains.items():
            before = self._passed[name]
            while self._passed[name] < len(chain) and self._rejects(name):
                self._passed[name] += 1
            if before < self._passed[name] == len(chain):
                self._pass_on(name)
                return True
        return False

    def tested(self, name: Name) -> list[Tested]:
        """Return every hypothesis of a chain with the level that it was tested at."""
        return [
            Tested(p, self._share[name] if position <= self._passed[name] else 0.0)
            for position, p in enumerate(self._chains[name])
        ]

    def _rejects(self, name: Name) -> bool:
        p = self._chains[name][self._passed[name]]
        return p is not None and p <= self._share[name]

    def _pass_on(self, name: Name) -> None:
        others = [n for n, chain in self._chains.items() if self._passed[n] < len(chain)]
        for other in others:
            self._share[other] += self._share[name] / len(others)
