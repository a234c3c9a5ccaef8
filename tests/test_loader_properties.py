"""Loading, for any order of rows, limit and seed: nothing lost, duplicated or reordered."""

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from deeploc import stimuli
from deeploc.contrast.model import Contrast
from deeploc.errors import ContrastError
from deeploc.stimuli.sampling import quotas

LABELS = ("joy", "fear", "love")
Row = tuple[str, str]

_ROWS = st.lists(
    st.tuples(st.text("ab c", min_size=1).filter(str.strip), st.sampled_from(LABELS)), max_size=40
).map(lambda rows: [*rows, *((f"{label} {i}", label) for label in LABELS for i in range(2))])
_SHUFFLED = _ROWS.flatmap(st.permutations)
_SEED = st.integers(0, 2**32)
_LIMIT = st.none() | st.integers(2, 30)


@contextmanager
def folder_with(rows: list[Row], form: str) -> Iterator[Path]:
    """Lend a folder with the rows as one table, labels as numbers in half of the formats."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / f"rows.{form}"
        if form == "csv":
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        elif form == "jsonl":
            lines = [{"text": text, "label": LABELS.index(label)} for text, label in rows]
            path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        else:
            numbers = [LABELS.index(label) for _, label in rows]
            parquet.write_table(pa.table({"text": [t for t, _ in rows], "label": numbers}), path)
        yield Path(made)


def contrast_of(*, balance: bool = False, declared: str = "joy > fear, love") -> Contrast:
    kinds = {label: {"where": {"label": label}, "names": {"label": LABELS}} for label in LABELS}
    source = {"hub": "x/y", "split": "validation"}
    conditions = {label: {**source, **kind} for label, kind in kinds.items()}
    made = {"name": "t", "title": "t", "modality": "text", "source": "t", "contrast": declared}
    made |= {"conditions": conditions, "balance": balance}
    return Contrast.from_json(json.loads(json.dumps(made)), Path.cwd())


def number_of(stimulus: stimuli.Stimulus, form: str) -> int:
    """Return the row that an id leads back to, counted from 0."""
    return int(stimulus.id.rpartition(":")[2]) - {"csv": 2, "jsonl": 1, "parquet": 0}[form]


@settings(max_examples=40, deadline=None)
@given(rows=_SHUFFLED, seed=_SEED, limit=_LIMIT, form=st.sampled_from(["csv", "jsonl", "parquet"]))
def test_every_stimulus_is_its_row(
    rows: list[Row], seed: int, limit: int | None, form: str
) -> None:
    """Each condition holds min(limit, n) of its own rows, once, in order, and ids lead to them."""
    with folder_with(rows, form) as folder:
        loaded = stimuli.load(contrast_of(), seed=seed, limit=limit, folder=folder)

    own = Counter(label for _, label in rows)
    for label, group in loaded.items():
        numbers = [number_of(stimulus, form) for stimulus in group]
        assert [rows[n] for n in numbers] == [
            (rows[n][0], label) for n in numbers
        ]  # of this condition
        assert [s.content for s in group] == [rows[n][0].strip() for n in numbers]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == min(limit or own[label], own[label])


@settings(max_examples=25, deadline=None)
@given(rows=_ROWS, order=st.randoms(use_true_random=False), seed=_SEED)
def test_the_order_of_rows_changes_no_condition(rows: list[Row], order: object, seed: int) -> None:
    """Without a limit the same rows in another order give the same stimuli."""
    turned = list(rows)
    order.shuffle(turned)  # type: ignore[attr-defined]
    result = []
    for each in (rows, turned):
        with folder_with(each, "csv") as folder:
            loaded = stimuli.load(contrast_of(), seed=seed, folder=folder)
        result.append({name: Counter(s.content for s in group) for name, group in loaded.items()})

    assert result[0] == result[1]


@settings(max_examples=40, deadline=None)
@given(rows=_SHUFFLED, seed=_SEED, limit=_LIMIT)
def test_halves_and_balance_lose_nothing(rows: list[Row], seed: int, limit: int | None) -> None:
    """Balanced sides are equal, in order, part of what there was; the halves are all of it."""
    with folder_with(rows, "parquet") as folder:
        plain = stimuli.load(contrast_of(), seed=seed, limit=limit, folder=folder)
        try:
            sampled = stimuli.sample_stimuli(
                contrast_of(balance=True), seed=seed, limit=limit, folder=folder
            )
        except ContrastError as error:
            if "because the other side has so few" in str(error):
                return
            raise
    kept = {
        name: [s for s in group if s in (*sampled.localizing[name], *sampled.held_out[name])]
        for name, group in plain.items()
    }

    n = min(len(plain["joy"]), len(plain["fear"]) + len(plain["love"]))
    assert len(kept["joy"]) == len(kept["fear"]) + len(kept["love"]) == n
    for name, group in kept.items():
        halves = (*sampled.localizing[name], *sampled.held_out[name])
        assert Counter(halves) == Counter(group)


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=6), total=st.integers(0, 200))
def test_quotas_are_as_even_as_they_can_be(sizes: list[int], total: int) -> None:
    """All is given out that fits, and nobody who could give more gives less than another's, -1."""
    taken = quotas(sizes, total)

    assert sum(taken) == min(total, sum(sizes))
    assert all(0 <= n <= size for n, size in zip(taken, sizes, strict=True))
    unfilled = [n for n, size in zip(taken, sizes, strict=True) if n < size]
    assert all(max(taken) - n <= 1 for n in unfilled)


def test_balance_leaves_other_conditions_alone() -> None:
    """A condition on neither side keeps all its stimuli."""
    rows = [
        (f"{label} {i}", label)
        for label, n in zip(LABELS, (9, 4, 7), strict=True)
        for i in range(n)
    ]
    with folder_with(rows, "csv") as folder:
        loaded = stimuli.load(
            contrast_of(balance=True, declared="joy > fear"), seed=0, folder=folder
        )

    assert {name: len(group) for name, group in loaded.items()} == {"joy": 4, "fear": 4, "love": 7}


def test_too_few_to_balance() -> None:
    """A condition that would keep fewer than two stimuli is reported with a remedy."""
    rows = [(f"{label} {i}", label) for label in LABELS for i in range(3)]
    with folder_with(rows, "csv") as folder, pytest.raises(ContrastError) as caught:
        stimuli.load(contrast_of(balance=True), seed=0, folder=folder)

    assert str(caught.value) == (
        "contrast 't': balance: condition 'love' keeps 1 of 3 stimuli, because the other side has "
        "so few; a variance needs at least two; add stimuli, raise limits, or leave balance out"
    )


def test_the_sample_is_the_same_on_every_machine() -> None:
    """Fixed values: limit, balance and halves of a known table with a known seed."""
    rows = [(f"{label} {i}", label) for i in range(20) for label in LABELS]
    with folder_with(rows, "parquet") as folder:
        sampled = stimuli.sample_stimuli(contrast_of(balance=True), seed=3, limit=8, folder=folder)

    result = [{n: [s.content for s in g] for n, g in half.items()} for half in sampled.halves]
    assert result == [
        {
            "joy": ["joy 7", "joy 10", "joy 14", "joy 16"],
            "fear": ["fear 0", "fear 8"],
            "love": ["love 9", "love 18"],
        },
        {
            "joy": ["joy 1", "joy 4", "joy 11", "joy 17"],
            "fear": ["fear 5", "fear 10"],
            "love": ["love 0", "love 19"],
        },
    ]
