"""What the same localizer selects in an untrained copy of the model, per kind of site."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deeploc.core.json_values import nulled, restored
from deeploc.core.resampling import Halves
from deeploc.core.responses import Preference


@dataclass(frozen=True, slots=True)
class KindUntrained:
    """What is selected in an untrained copy at one kind of site.

    Parameters
    ----------
    sites
        The kind of site.
    n_selected
        How many units the contrast's rule selects there.
    preference
        The contrast tested on these, on held-out stimuli; None where none were held out.
    halves
        How well two halves of the localizing stimuli agree on them; None where that is not known.
    """

    sites: str
    n_selected: int
    preference: Preference | None = None
    halves: Halves | None = None


@dataclass(frozen=True)
class Untrained:
    """What is selected in an untrained copy of a model; ``missing``: why there is no copy."""

    kinds: Sequence[KindUntrained] = ()
    missing: str | None = None

    def of(self, sites: str) -> KindUntrained | None:
        """Return what is selected at a kind of site, None where that is not known.

        Parameters
        ----------
        sites
            The kind.
        """
        return next((kind for kind in self.kinds if kind.sites == sites), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; null stands for nan."""
        return {"kinds": [nulled(asdict(kind)) for kind in self.kinds], "missing": self.missing}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Untrained":
        """Return what `to_json` wrote.

        Parameters
        ----------
        value
            What it returned.

        Raises
        ------
        KeyError, TypeError
            If it is of another form.
        """
        return cls(tuple(_kind(row) for row in value["kinds"]), value["missing"])


def _kind(row: Mapping[str, Any]) -> KindUntrained:
    preference, halves = row["preference"], row["halves"]
    return KindUntrained(
        row["sites"],
        row["n_selected"],
        Preference(**restored(preference)) if preference else None,
        Halves(**restored(halves)) if halves else None,
    )
