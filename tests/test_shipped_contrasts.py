"""What the shipped contrasts that need no download promise of their stimuli."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from deeploc import stimuli
from deeploc.contrast import model as contrast
from deeploc.contrast.model import Contrast
from deeploc.stimuli import Source, Stimulus

TOMLOC = Path(__file__).parents[1].parent / "shared" / "assets" / "stimuli" / "tomloc"

SHIPPED = {name: contrast.load(name) for name in contrast.available()}
OFFLINE = [
    name
    for name, shipped in SHIPPED.items()
    if all(condition.builtin for condition in shipped.conditions.values())
]

# Contrast -> how far the means of words and characters may lie apart, as a share of the smaller.
MATCHED = {
    "language": (0, 0),
    "language-jabberwocky": (0, 0),
    "multiple-demand": (0, 0),
    "theory-of-mind": (0.02, 0.02),
}


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Render the images into a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@cache
def loaded(name: str) -> Mapping[str, tuple[Stimulus, ...]]:
    return {key: tuple(group) for key, group in stimuli.load(SHIPPED[name], seed=0).items()}


def texts(name: str, condition: str) -> list[str]:
    return [str(stimulus.content) for stimulus in loaded(name)[condition]]


def items(shipped: Contrast, task: str) -> dict[str, list[dict[str, str]]]:
    """Return the generated items of a task, by condition."""
    options = dict(shipped.tasks)[task]
    sources = {
        name: Source.model_validate(stated)
        for name, stated in options.items()
        if isinstance(stated, dict)
    }
    return {
        name: [dict(row.fields) for row in stimuli.records(source, base=Path(), seed=0, name=name)]
        for name, source in sources.items()
    }


def test_what_runs_offline() -> None:
    """The contrasts that need no download are among those that are tested."""
    assert {*MATCHED, "faces-rendered", "bodies-rendered", "places-rendered"} <= set(OFFLINE)
    assert {"letters-rendered", "multiple-demand-paper"} <= set(OFFLINE)


@pytest.mark.parametrize("name", OFFLINE)
def test_conditions_are_complete(name: str) -> None:
    """Every condition has as many stimuli as its limit."""
    declared = {key: source.limit for key, source in SHIPPED[name].conditions.items()}

    assert {key: len(group) for key, group in loaded(name).items()} == declared


@pytest.mark.parametrize("name", OFFLINE)
def test_no_stimulus_is_in_two_conditions(name: str) -> None:
    """Equal texts or images of equal bytes are in one condition only."""
    displayed = {
        key: {stimulus.content_key for stimulus in group} for key, group in loaded(name).items()
    }

    assert not [
        pair for pair in combinations(displayed, 2) if displayed[pair[0]] & displayed[pair[1]]
    ]


@pytest.mark.parametrize("name", sorted(set(OFFLINE) - {"multiple-demand-paper"}))
def test_no_stimulus_comes_twice(name: str) -> None:
    """All stimuli of a condition differ; only the paper's own are as they are."""
    for group in loaded(name).values():
        assert len({stimulus.content_key for stimulus in group}) == len(group)


@pytest.mark.parametrize("name", MATCHED)
@pytest.mark.parametrize("what", ["words", "characters"])
def test_lengths_are_matched(name: str, what: str) -> None:
    """The means of the conditions lie no further apart than promised."""
    measure = (lambda text: len(text.split())) if what == "words" else len
    means = [np.mean([measure(text) for text in texts(name, key)]) for key in loaded(name)]

    assert max(means) / min(means) - 1 <= MATCHED[name][what == "characters"]


@pytest.mark.parametrize("name", ["language", "language-jabberwocky"])
def test_every_stimulus_has_twelve_words(name: str) -> None:
    """Not only on average."""
    assert {len(t.split()) for key in loaded(name) for t in texts(name, key)} == {12}


@pytest.mark.parametrize("seed", [0, 4, 6])
@pytest.mark.parametrize(("limit", "each"), [(None, 25), (20, 10)])
def test_operators_are_balanced_in_each_half(seed: int, limit: int | None, each: int) -> None:
    """What localizes and what evaluates holds as many sums as differences, hard as easy."""
    for half in stimuli.sample_stimuli(SHIPPED["multiple-demand"], seed=seed, limit=limit).halves:
        for name, group in half.items():
            sign = "+" if name.endswith("sums") else "-"
            assert [str(s.content).split()[1] for s in group] == [sign] * each


def test_evaluated_arithmetic_is_fresh() -> None:
    """No evaluated problem is among the stimuli, and both difficulties are complete."""
    name = "multiple-demand"
    evaluated = items(SHIPPED[name], "continuation")
    prompts = {row["prompt"] for rows in evaluated.values() for row in rows}

    assert {key: len(rows) for key, rows in evaluated.items()} == {"hard": 60, "easy": 60}
    assert len(prompts) == 120
    assert not prompts & {text for key in loaded(name) for text in texts(name, key)}


@pytest.mark.parametrize("name", ["theory-of-mind"])
def test_answers_are_balanced(name: str) -> None:
    """In each condition that is asked about, either option is right equally often."""
    for rows in items(SHIPPED[name], "choice").values():
        right = [json.loads(row["options"]).index(row["answer"]) for row in rows]
        assert right.count(0) == right.count(1) == len(rows) / 2


def test_evaluated_stories_did_not_localize() -> None:
    """What `choice` asks about is none of the stories in the comparison."""
    name = "theory-of-mind"
    sides = SHIPPED[name].comparison
    local = {text for key in (*sides.positive, *sides.negative) for text in texts(name, key)}
    asked = {row["text"] for rows in items(SHIPPED[name], "choice").values() for row in rows}

    assert (len(local), len(asked)) == (20, 20)
    assert not local & asked


def test_word_lists_hold_the_words_of_the_sentences() -> None:
    """The two conditions are the same words, each as often."""
    words = [
        sorted(" ".join(texts("language-jabberwocky", key)).split())
        for key in ("sentences", "word-lists")
    ]

    assert words[0] == words[1]


@pytest.mark.shared
@pytest.mark.skipif(not TOMLOC.is_dir(), reason="the stories of the Saxe lab are not here")
def test_the_stories_of_the_lab_are_read_from_its_folder() -> None:
    """Each story file is one stimulus without line breaks; the questions are not read."""
    result = stimuli.load(SHIPPED["theory-of-mind-saxe"], seed=0, folder=TOMLOC)

    for name, letter in (("belief", "b"), ("photograph", "p")):
        files = [(TOMLOC / f"{n}{letter}_story.txt").read_text() for n in range(1, 11)]
        assert {str(s.content) for s in result[name]} == {" ".join(t.split()) for t in files}
