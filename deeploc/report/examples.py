"""What a model says intact, ablated, amplified and under a control, as the page shows it."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from deeploc.core.examples import Examples, Given, Guess, Output, State
from deeploc.core.verdict import Verdict

_ORDER = ("intact", "ablated", "steered", "random", "amplified")

_BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Classes of the characters that turn the direction of what follows them."""


def examples_part(examples: Examples | None, verdict: Verdict | None) -> dict[str, Any] | None:
    """Return what the page shows of some examples, None where there are none.

    Kinds of site whose units the model needs come first.

    Parameters
    ----------
    examples
        Those of a run; None where nobody made them.
    verdict
        That of the run.
    """
    if examples is None or not (examples.given or examples.missing):
        return None
    kinds = [
        {
            "name": kind,
            "n_units": examples.of(kind)[1].state.n_units,
            "items": [_item(examples, kind, number) for number in range(len(examples.given))],
        }
        for kind in sorted(examples.kinds, key=_is_needed(verdict), reverse=True)
    ]
    return {
        "kinds": kinds,
        "are_texts": any(given.prompt is not None for given in examples.given),
        "are_own": any(not given.condition for given in examples.given),
        "missing": visible(examples.missing or ""),
    }


def _is_needed(verdict: Verdict | None) -> Callable[[str], bool]:
    networks = verdict.networks if verdict else ()
    needed = [network.sites for network in networks if network.answer("causal") == "yes"]
    return lambda kind: kind in needed


def _item(examples: Examples, kind: str, number: int) -> dict[str, Any]:
    """Return one input with what is said to it in every state."""
    given, outputs = examples.given[number], examples.of(kind)
    outputs = sorted(outputs, key=lambda output: _ORDER.index(output.state.name))
    rows = [_row(output, outputs[0], number) for output in outputs]
    return {"title": _title(given), "prompt": visible(given.prompt or ""), "given": given} | {
        "rows": rows
    }


def _title(given: Given) -> str:
    origin = visible(f"{given.condition}: {given.stimulus}")
    return origin if given.condition else "a prompt of the contrast"


def _row(output: Output, intact: Output, number: int) -> dict[str, Any]:
    row = {"name": output.state.name, "detail": _detail(output.state)}
    if output.texts:
        parts = first_difference(output.texts[number], intact.texts[number])
        return (
            row
            | {"parts": parts, "is_same": output is not intact and parts is None}
            | {"text": visible(output.texts[number])}
        )
    return row | {"guesses": list(_guesses(output.guesses[number], intact.guesses[number]))}


def _detail(state: State) -> str:
    if state.name == "intact":
        return ""
    name, _, gain = state.mode.partition(":")
    return f"\N{MULTIPLICATION SIGN} {gain}" if name == "scale" else state.mode


def first_difference(text: str, intact: str) -> tuple[str, str, str] | None:
    """Return what comes before the first word that differs, this word, and what follows it.

    The word is empty where the text ends and the intact one goes on. White space belongs to the
    word that follows it.

    Parameters
    ----------
    text, intact
        What the model says in some state, and intact.

    Returns
    -------
    tuple or None
        None where the texts do not differ.

    Examples
    --------
    >>> first_difference(" the old dog", " the cat")
    (' the ', 'old', ' dog')
    >>> first_difference(" the", " the cat"), first_difference("a", "a")
    ((' the', '', ''), None)
    """
    if text == intact:
        return None
    words, others = (re.findall(r"\s*\S+|\s+", each) for each in (text, intact))
    pairs = zip(words, others, strict=False)
    n = next((i for i, (word, other) in enumerate(pairs) if word != other), None)
    n = min(len(words), len(others)) if n is None else n
    word = words[n] if n < len(words) else ""
    marked = word.lstrip(" ")
    before = "".join(words[:n]) + word[: len(word) - len(marked)]
    return visible(before), visible(marked), visible("".join(words[n + 1 :]))


def visible(text: str) -> str:
    r"""Return a text with a visible sign for every character that has none, or turns the others.

    Ends of lines and tabs become arrows, which common fonts have, other control characters their
    pictures (U+2400 to U+2421), the rest its number.

    Parameters
    ----------
    text
        Any text.

    Examples
    --------
    >>> visible("a\nb\x7f")
    'a↵b␡'
    """
    return "".join(map(_sign, text))


_ARROWS = {"\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW TO BAR}"}


def _sign(letter: str) -> str:
    number = ord(letter)
    if number < 0x20:
        return _ARROWS.get(letter, chr(0x2400 + number))
    if number == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    is_hidden = unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
    if is_hidden or unicodedata.bidirectional(letter) in _BIDIRECTIONAL:
        return f"<U+{number:04X}>"
    return letter


def _guesses(guesses: Sequence[Guess], intact: Sequence[Guess]) -> Iterator[dict[str, Any]]:
    """Yield the classes, and whether the first is another one than that of the intact model."""
    for number, guess in enumerate(guesses):
        differs = number == 0 and guess.label != (intact[0].label if intact else None)
        yield {"label": visible(guess.label), "share": _share(guess), "differs": differs}


def _share(guess: Guess) -> str:
    percent = f"{100 * guess.probability:.1f}"
    return {"0.0": "< 0.1", "100.0": "> 99.9"}.get(percent, percent)
