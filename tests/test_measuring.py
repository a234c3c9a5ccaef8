"""Tasks refused before the first forward pass, scored in one call, served from memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeploc import entry_points
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter, TextRequest, TextScore
from deeploc.core.measuring import measure_all, prepare_all, read, score_once
from deeploc.core.readout import Readout
from deeploc.core.results import Measurement
from deeploc.core.task import (
    NeedsAbilities,
    Reading,
    ReadsActivations,
    RequestsScores,
    Task,
    TaskContext,
    check_needs,
)
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError, TaskError
from deeploc.stimuli import Stimulus
from deeploc.tasks import accuracy, label_stability, text_probe
from deeploc.testing import ToyAdapter

from .adapters.conftest import model_of, tokenizer_of
from .colours import CLASSES, WEIGHTS, ColourAdapter

SHIPPED = [
    name
    for name, entry in entry_points.available("deeploc.tasks").items()
    if entry.module.startswith("deeploc.tasks.") and name not in ("brain-alignment", "lm-eval")
]
"""Names of the tasks that come with deeploc; other installed packages may have some too. A task on
units and the tasks of another package have tests of their own."""

WORDS = ("the", "dog", "sang", "near", "red", "barn", "letter", "house")


def texts(n: int, seed: int) -> list[Stimulus]:
    """Return ``n`` different texts of one to six words."""
    rng = np.random.default_rng(seed)
    lines = {" ".join(rng.choice(WORDS, rng.integers(1, 7))): None for _ in range(5 * n)}
    return [Stimulus(f"texts:{i}", line) for i, line in enumerate(list(lines)[:n])]


@pytest.fixture
def context(tmp_path: Path) -> TaskContext:
    """Return halves of two conditions, 6 texts each."""
    held_out = {"a": texts(6, 1), "b": texts(6, 2)}
    localizing = {"a": texts(6, 3), "b": texts(6, 4)}
    return TaskContext(held_out, ["a", "b"], tmp_path, localizing=localizing)


@pytest.fixture
def tasks(context: TaskContext) -> dict[str, Task]:
    """Return every shipped task, by name."""
    (context.base / "pairs.csv").write_text(
        "sentence_good,sentence_bad,UID\nthe dog sang,dog the sang,x\nthe red barn,the barn red,y\n"
    )
    (context.base / "prompts.csv").write_text(
        "prompt,completion\nthe dog, sang\nnear the, red house\nthe, dog sang\n"
    )
    options: dict[str, Mapping[str, Any]] = {
        "accuracy": {"classes": {"a": "red thing"}},
        "choice": {"options": {"a": "dog", "b": "red barn"}},
        "continuation": {"own": {"file": "prompts.csv"}},
        "minimal-pairs": {"own": {"file": "pairs.csv"}},
    }
    return {
        name: entry_points.load("deeploc.tasks", name)(options.get(name, {}), context)
        for name in SHIPPED
    }


@pytest.fixture(scope="module")
def gpt2() -> HFAdapter:
    return HFAdapter(model_of("gpt2"), tokenizer_of(bos=True), "tiny")


class Plain:
    """A task with no more than a task must have."""

    name = "plain"
    metrics = {"a": "higher"}
    identity = {"items": "one"}

    def prepare(self, adapter: Adapter) -> None:
        del adapter

    def measure(self, adapter: Adapter) -> list[Measurement]:
        del adapter
        return [Measurement("a", "all", np.ones(1), np.ones(1))]


class Scorer(ToyAdapter):
    """A model that scores a text by its length; ``calls`` are the requests of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[TextRequest]] = []

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        self.calls.append(list(requests))
        return [TextScore(-len(r.completion) / 7, len(r.completion), True) for r in requests]


def flat(measured: Sequence[tuple[str, Measurement]]) -> dict[tuple[str, ...], np.ndarray]:
    """Return (task, metric, condition) -> amounts above weights."""
    return {(n, m.metric, m.condition): np.stack([m.amount, m.weight]) for n, m in measured}


def one_by_one(adapter: Adapter, tasks: Sequence[Task]) -> dict[tuple[str, ...], np.ndarray]:
    return flat([(task.name, m) for task in tasks for m in task.measure(adapter)])


# refused before the first forward pass


def test_lacking_ability_names_task_model_and_ability(tasks: dict[str, Task]) -> None:
    """One task in the words that `prepare` has too; several in one error."""
    with pytest.raises(TaskError) as one:
        check_needs(ToyAdapter(), [tasks["text-probe"], tasks["accuracy"]])
    assert str(one.value) == (
        "task 'accuracy' needs a model with the ability Classifies; toy has none; "
        "leave the task out, or add the ability to your adapter (docs/plugins.md)"
    )
    with pytest.raises(TaskError) as several:
        check_needs(ToyAdapter(), [tasks["perplexity"], tasks["accuracy"]])
    assert str(several.value) == (
        "tasks need abilities that toy lacks: 'perplexity' (ScoresText), 'accuracy' (Classifies); "
        "leave these tasks out, or add the ability to your adapter (docs/plugins.md)"
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_needs_are_what_preparing_asks_for(tasks: dict[str, Task], name: str) -> None:
    """Every shipped task is refused with the words in which it would refuse itself, or is not."""
    messages = []
    for refuse in (lambda: check_needs(ToyAdapter(), [tasks[name]]), lambda: prepared(tasks[name])):
        try:
            refuse()
        except TaskError as error:
            messages.append(str(error))

    assert len(messages) == (0 if name == "text-probe" else 2)
    assert len(set(messages)) <= 1


def prepared(task: Task) -> None:
    task.prepare(ToyAdapter())


def test_task_without_needs_takes_every_model() -> None:
    """A plugin's task that declares nothing is not refused."""
    check_needs(ToyAdapter(), [Plain()])

    assert not isinstance(Plain(), NeedsAbilities)


def test_unknown_label_is_refused_without_a_forward_pass(context: TaskContext) -> None:
    """Where the model names its classes; where it has none a number may be right."""
    task = accuracy.make({"classes": {"a": "grin thing"}}, context)
    adapter = ColourAdapter()
    with pytest.raises(TaskError, match=r"^task 'accuracy', a \(texts:0\): the model has no class"):
        check_needs(adapter, [task])
    check_needs(ColourAdapter(classes=()), [task])
    check_needs(adapter, [accuracy.make({"classes": {"a": "green thing"}}, context)])

    assert adapter.calls == []


def test_single_class_is_refused_without_a_forward_pass(context: TaskContext) -> None:
    """Predictions of a model that names one class cannot change."""
    adapter = ColourAdapter(WEIGHTS[:, :1], CLASSES[:1])
    with pytest.raises(TaskError, match="needs a model with at least two classes; colours has one"):
        check_needs(adapter, [label_stability.make({}, context)])
    check_needs(ColourAdapter(), [label_stability.make({}, context)])

    assert adapter.calls == []


def test_last_block_that_cannot_be_read_is_refused(context: TaskContext) -> None:
    """Pool none needs as many positions in every stimulus."""
    task = text_probe.make({}, replace(context, read=Readout(pool="none")))
    with pytest.raises(AdapterError, match="pool 'none' needs a fixed number of positions"):
        check_needs(ToyAdapter(), [task])


# scored in one call


TEXT_TASKS = {"choice", "continuation", "minimal-pairs", "perplexity"}


def scoring(tasks: Mapping[str, Task]) -> list[Task]:
    return [task for task in tasks.values() if isinstance(task, RequestsScores)]


def test_all_tasks_share_one_call(tasks: dict[str, Task], context: TaskContext) -> None:
    """Every distinct request once; each task finds its own scores, in its own order."""
    adapter = Scorer()
    chosen = [*scoring(tasks), Plain()]
    together = flat(measure_all(adapter, chosen))
    (call,) = adapter.calls
    expected = one_by_one(adapter, chosen)

    assert [task.name for task in scoring(tasks)] == [
        name for name in SHIPPED if name in TEXT_TASKS
    ]
    assert len(call) == len(set(call)) == len({r for t in scoring(tasks) for r in t.requests})
    assert list(together) == list(expected)
    for key, value in expected.items():
        assert together[key].tobytes() == value.tobytes()
    lengths = [len(str(s.content)) for s in context.held_out["b"]]
    np.testing.assert_allclose(together["perplexity", "nll", "b"][0], np.array(lengths) / 7)


def test_no_call_where_no_task_scores() -> None:
    """An adapter without the ability is not called for it."""
    assert [name for name, _ in measure_all(ToyAdapter(), [Plain()])] == ["plain"]


def test_equal_requests_of_two_tasks_are_scored_once(context: TaskContext) -> None:
    """A text that two conditions and two tasks have is one request."""
    same = replace(context, held_out={"a": texts(3, 1), "b": texts(3, 1)})
    make: Callable[..., Task] = entry_points.load("deeploc.tasks", "perplexity")
    adapter = Scorer()
    measure_all(adapter, [make({}, same), make({}, same)])

    assert [len(call) for call in adapter.calls] == [3]


def test_one_call_equals_a_call_per_task(tasks: dict[str, Task], gpt2: HFAdapter) -> None:
    """A transformer, intact and ablated: only rounding differs, since batches do."""
    chosen = scoring(tasks)
    edit = Ablation(UnitMask(gpt2.sites, np.arange(gpt2.sites.n_units) % 3 == 0))
    intact, expected = flat(measure_all(gpt2, chosen)), one_by_one(gpt2, chosen)
    with gpt2.ablated(edit):
        ablated, under = flat(measure_all(gpt2, chosen)), one_by_one(gpt2, chosen)

    for one, other in ((intact, expected), (ablated, under)):
        for key, value in other.items():
            np.testing.assert_allclose(one[key], value, atol=1e-5)
    assert not np.allclose(intact["perplexity", "nll", "a"], ablated["perplexity", "nll", "a"])


def test_equal_batches_give_equal_bits(tasks: dict[str, Task], gpt2: HFAdapter) -> None:
    """A task alone is scored in the batches of its own call."""
    for task in scoring(tasks):
        together, expected = flat(measure_all(gpt2, [task])), one_by_one(gpt2, [task])
        for key, value in expected.items():
            assert together[key].tobytes() == value.tobytes()


def test_scores_belong_to_their_requests(gpt2: HFAdapter) -> None:
    """Repeated requests, in any order, have the score that each has alone."""
    requests = [TextRequest("the dog", f" {word}") for word in (*WORDS, *WORDS[::-1])]
    scores = score_once(gpt2, requests, "choice")

    assert list(scores) == requests[: len(WORDS)]
    for request in requests:
        (alone,) = gpt2.score([request])
        assert scores[request].logprob == pytest.approx(alone.logprob, abs=1e-5)


# served from memory


class Counting(ToyAdapter):
    """The toy model; ``n_read`` counts the stimuli that it has read."""

    n_read = 0

    def activations(self, stimuli: Sequence[Stimulus], *how: Any) -> Any:
        self.n_read += len(stimuli)
        return super().activations(stimuli, *how)


def test_known_activations_are_not_read_again(context: TaskContext) -> None:
    """Served from memory the probe learns and measures the same to the last bit."""
    task, adapter = text_probe.make({}, context), Counting()
    prepare_all(adapter, [task])
    expected = flat(measure_all(adapter, [task]))
    memory = {r.stimuli: read(adapter, r) for r in (task.training(adapter), task.testing(adapter))}
    assert adapter.n_read == 48

    served = text_probe.make({}, context)
    prepare_all(adapter, [served], lambda reading: memory[reading.stimuli])
    measured = flat(measure_all(adapter, [served], lambda reading: memory[reading.stimuli]))

    assert adapter.n_read == 48
    assert {k: v.tobytes() for k, v in measured.items()} == {
        k: v.tobytes() for k, v in expected.items()
    }


def test_unknown_activations_are_read(context: TaskContext) -> None:
    """Where memory has nothing the adapter is read: each half once."""
    task, adapter = text_probe.make({}, context), Counting()
    prepare_all(adapter, [task], lambda _: None)
    measure_all(adapter, [task], lambda _: None)

    assert adapter.n_read == 24


def test_readings_are_the_halves_at_the_last_block(context: TaskContext) -> None:
    """What a caller must keep is known from the model's sites, before any forward pass."""
    task, adapter = text_probe.make({}, context), Counting()
    training, testing = task.training(adapter), task.testing(adapter)

    assert isinstance(task, ReadsActivations)
    assert training == Reading(
        (*context.localizing["a"], *context.localizing["b"]),
        adapter.sites.choose(["counter"]),
        context.read,
    )
    assert testing.stimuli == (*context.held_out["a"], *context.held_out["b"])
    assert adapter.n_read == 0


def test_rows_of_a_reading_are_its_stimuli() -> None:
    """Batches may come in any order; every row is that of its stimulus."""

    class Backwards(ToyAdapter):
        def activations(self, *what: Any) -> Any:
            yield from reversed(list(super().activations(*what)))

    stimuli = tuple(Stimulus(str(i), "a" * i + "b") for i in range(1, 9))
    reading = Reading(stimuli, ToyAdapter.sites.choose(["counter"]), Readout(pool="last"))

    assert read(Backwards(), reading)[:, 0].tolist() == list(range(1, 9))
