"""Examples: what a model says to a few inputs intact, ablated, amplified and under a control."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deeploc.core.results import INTACT

StateName = Literal["intact", "ablated", "random", "amplified", "steered"]


@dataclass(frozen=True, slots=True)
class Guess:
    """One class for an image.

    Parameters
    ----------
    label
        The name of the class; its number where it has no name.
    probability
        The softmax of its logit, 0-1.

    Raises
    ------
    ValueError
        If the probability is none.
    """

    label: str
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 + 1e-6:
            raise ValueError(f"a probability lies between 0 and 1, not {self.probability}")


@dataclass(frozen=True, slots=True)
class State:
    """A state of a model whose output is shown.

    Parameters
    ----------
    name
        ``intact``; ``ablated``, ``amplified`` or ``steered`` (mode ``add``) at the chosen units;
        ``random``: as many random units at every site, in the same mode as the ablated ones.
    sites
        The kind of site whose units are edited.
    mode
        The mode of ablation.
    n_units
        How many units are edited.
    """

    name: StateName = "intact"
    sites: str = INTACT
    mode: str = INTACT
    n_units: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """What a model was given.

    Parameters
    ----------
    condition
        The condition that it comes from; empty for a prompt of the contrast file.
    stimulus
        The id of the stimulus; empty likewise.
    prompt
        The text that is continued; None for an image.
    thumbnail
        A JPEG of the image in base64; None for a text.

    Raises
    ------
    ValueError
        If the thumbnail is no base64.
    """

    condition: str
    stimulus: str
    prompt: str | None = None
    thumbnail: str | None = None

    def __post_init__(self) -> None:
        if self.thumbnail is not None and not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", self.thumbnail):
            raise ValueError(f"a thumbnail is base64, not {self.thumbnail[:40]!r}")


@dataclass(frozen=True, slots=True)
class Output:
    """What a model says in one state to every input.

    Parameters
    ----------
    state
        The state.
    texts
        The continuation of every prompt; empty for images.
    guesses
        The most probable classes of every image, the most probable first (none where the logits
        are not finite); empty for texts.
    """

    state: State
    texts: tuple[str, ...] = ()
    guesses: tuple[tuple[Guess, ...], ...] = ()

    def __len__(self) -> int:
        """Return how many inputs it answers."""
        return max(len(self.texts), len(self.guesses))


@dataclass(frozen=True, slots=True)
class Examples:
    """What a model says to a few inputs in several states.

    Parameters
    ----------
    given
        The inputs; none where the model neither continues texts nor names classes, or nobody
        wants to see it.
    outputs
        The intact model first, then the states of every kind of site.
    missing
        What went wrong; None: nothing.

    Raises
    ------
    ValueError
        If an output does not answer every input once, or the first is not that of the intact model.
    """

    given: tuple[Given, ...] = ()
    outputs: tuple[Output, ...] = ()
    missing: str | None = None

    def __post_init__(self) -> None:
        if bool(self.given) != bool(self.outputs):
            raise ValueError("there are inputs without outputs, or outputs without inputs")
        for number, output in enumerate(self.outputs):
            _check(output, self.given)
            if (output.state.name == "intact") != (number == 0):
                raise ValueError("the first output, and no other, is that of the intact model")

    @property
    def kinds(self) -> list[str]:
        """The kinds of site whose units are edited."""
        return list(dict.fromkeys(output.state.sites for output in self.outputs[1:]))

    def of(self, kind: str) -> Sequence[Output]:
        """Return the outputs about a kind of site, that of the intact model first.

        Parameters
        ----------
        kind
            The kind of site.
        """
        return [o for n, o in enumerate(self.outputs) if n == 0 or o.state.sites == kind]

    def to_json(self) -> Mapping[str, Any]:
        """Return it as JSON, by the names of its parts."""
        return asdict(self)


def _check(output: Output, given: Sequence[Given]) -> None:
    are_texts = [item.prompt is not None for item in given]
    n_texts, n_images = sum(are_texts), len(given) - sum(are_texts)
    if (len(output.texts), len(output.guesses)) != (n_texts, n_images) or n_texts * n_images:
        raise ValueError(
            f"{len(given):,} inputs need as many outputs of one sort; {output.state.name} has "
            f"{len(output.texts):,} texts and {len(output.guesses):,} lists of classes"
        )
