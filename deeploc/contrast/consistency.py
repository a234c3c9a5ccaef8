"""Rules about several parts of a contrast file: what no part of it can check alone."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deeploc.contrast.fields import Ablate
from deeploc.contrast.selecting import OF_CONTRAST, Select
from deeploc.contrast.sources import Source
from deeploc.contrast.verdict import Verdict, parts_of
from deeploc.contrast.yaml import KeyPath
from deeploc.entry_points import available
from deeploc.errors import nearest

if TYPE_CHECKING:
    from deeploc.contrast.model import Contrast

Problem = tuple[KeyPath, str]
"""Where a contrast contradicts itself, and the message."""


def problems(contrast: "Contrast") -> Iterator[Problem]:
    """Yield every contradiction within a contrast whose parts are valid on their own."""
    yield from _of_modality(contrast)
    if contrast.modality == "image" and not isinstance(contrast.examples, bool):
        yield ("examples", "prompts"), "an image is not continued; write `examples: true` or false"
    yield from _of_numbers(contrast)
    yield from _of_statistic(contrast)
    yield from _of_selection(contrast.select)
    yield from _of_controls(contrast.select, contrast.ablate)
    names = [name for name, _ in contrast.tasks]
    yield from _of_ranking(contrast.select, contrast.ablate, names)
    for number, name in enumerate(names):
        if name in names[:number]:
            message = f"task {name!r} is named twice; give it several conditions instead"
            yield ("evaluate", number), message
    yield from _of_verdict(contrast.verdict, names)


def _of_modality(contrast: "Contrast") -> Iterator[Problem]:
    is_text = contrast.modality == "text"
    wrong, remedy = ("images", "image") if is_text else ("texts", "text")
    for name, source in contrast.conditions.items():
        for path, part in (
            (("conditions", name), source),
            (("conditions", name, "local"), source.local),
        ):
            if getattr(part, wrong, None) is not None:
                yield (
                    (*path, wrong),
                    f"there are {wrong} in a contrast of modality {contrast.modality!r}; write "
                    f"`modality: {remedy}`, or name another source",
                )
    if is_text:
        return
    read = contrast.read
    if read.pool == "last":
        yield ("read", "pool"), "images have no last position; write mean, max, cls or none"
    for key, is_set in (
        ("lowercase", read.lowercase),
        ("max_tokens", read.max_tokens is not None),
        ("tokens", read.tokens == "all"),
    ):
        if is_set:
            yield ("read", key), "images have no letters or tokens; leave it out"


def _of_numbers(contrast: "Contrast") -> Iterator[Problem]:
    if contrast.evaluate_limit is not None and contrast.split == "none":
        yield (
            ("evaluate_limit",),
            "with `split: none` the same stimuli localize and evaluate; write `split: half`, or "
            "give the conditions a limit",
        )
    for name, source in contrast.conditions.items():
        key, n = _most_stimuli(source)
        if n is not None and n < 2:
            yield (
                ("conditions", name, key),
                f"only {n} stimulus; a variance needs at least two; add some, or raise its limit",
            )


def _of_statistic(contrast: "Contrast") -> Iterator[Problem]:
    sides, statistic = contrast.comparison, contrast.statistic
    if sides.weights is not None and statistic != "welch":
        message = f"{statistic} compares two sides, without weights; write `contrast: a > b`"
        yield ("statistic",), f"{message}, or `statistic: welch`"
    elif statistic == "paired":
        n_pooled = len(sides.negative) if contrast.against == "pooled" else 1
        if len(sides.positive) > 1 or n_pooled > 1:
            yield (
                ("statistic",),
                "paired stimuli need one condition on each side; write `contrast: a > b`, or "
                "`a > b, c` with `against: each`, or `statistic: welch`",
            )
        if contrast.balance:
            yield ("balance",), "paired stimuli come in equal numbers anyway; leave it out"


def _most_stimuli(source: Source) -> tuple[str, int | None]:
    """Return the key that bounds the stimuli of a source, and the bound; None: no bound."""
    if source.limit is not None and (source.texts is None or source.limit < len(source.texts)):
        return "limit", source.limit
    return "texts", None if source.texts is None else len(source.texts)


def _of_selection(select: Select) -> Iterator[Problem]:
    if select.percentile is None or select.percent is None:
        return
    low, high = select.percentile
    if select.percent > high - low:
        yield (
            ("select", "percent"),
            f"{select.percent:g} % of all units, but the percentiles {low:g} and {high:g} hold "
            f"{high - low:g} % between them; lower percent or widen the range",
        )


def _of_ranking(select: Select, ablate: Ablate, tasks: Sequence[str]) -> Iterator[Problem]:
    if select.by == "contrast":
        return
    if select.of != OF_CONTRAST and select.of not in tasks:
        known = ", ".join([OF_CONTRAST, *tasks])
        yield (
            ("select", "of"),
            f"{select.of!r} is no task of this contrast; {nearest(select.of, tasks)}write one of "
            f"{known}",
        )
    if ablate.controls.shuffled:
        yield (
            ("ablate", "controls", "shuffled"),
            f"shuffled labels have no {select.by}; leave it out, or write `by: contrast`",
        )


def _of_controls(select: Select, ablate: Ablate) -> Iterator[Problem]:
    dose = max(ablate.percent) if ablate.percent is not None else _percent_selected(select)
    controls = ablate.controls
    for key, is_wanted in (
        ("random-global", controls.random_global),
        ("magnitude-matched", controls.magnitude_matched),
        ("opposite", controls.opposite),
    ):
        if is_wanted and dose is not None and dose > 50:
            yield (
                ("ablate", "controls", key),
                f"masks without the ablated units cannot hold as many: {dose:g} % of the units "
                f"are ablated; lower the dose to 50 or less, or leave {key} out",
            )
    if controls.range is not None and dose is not None:
        low, high = controls.range
        if dose > high - low:
            yield (
                ("ablate", "controls", "range"),
                f"the range from {low:g} to {high:g} holds {high - low:g} % of the units, but "
                f"{dose:g} % are ablated; widen it, or lower the dose",
            )
    selects_range = ablate.percent is None and select.percent is None
    if selects_range and controls.range is not None and controls.range == select.percentile:
        yield (
            ("ablate", "controls", "range"),
            "these are the selected units themselves; name another range",
        )


def _of_verdict(verdict: Verdict, tasks: Sequence[str]) -> Iterator[Problem]:
    """Yield what cannot be meant; a task that is left out for once (``--task``) is no mistake."""
    against = verdict.against or ()
    named = [
        *([(("verdict", "primary"), verdict.primary)] if verdict.primary else []),
        *((("verdict", "against", number), text) for number, text in enumerate(against)),
    ]
    for path, outcome in named:
        task = parts_of(outcome)[0]
        if task not in tasks and task not in (installed := available("deeploc.tasks")):
            known = ", ".join(installed)
            yield path, f"there is no task {task!r}; {nearest(task, installed)}tasks: {known}"
    if verdict.primary in against:
        yield ("verdict", "against"), f"{verdict.primary!r} is the primary outcome itself"


def _percent_selected(select: Select) -> float | None:
    """Return the selected share of the units of a kind in per cent, where the rule states it."""
    if select.percent is None and select.percentile is not None:
        return select.percentile[1] - select.percentile[0]
    return select.percent
