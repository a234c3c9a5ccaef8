"""Tasks of classifiers, on a model whose every number can be worked out by hand."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError
from scipy.special import softmax
from scipy.stats import entropy

from deeploc.analysis.evaluation import evaluate
from deeploc.analysis.planning import plan
from deeploc.contrast.model import Ablate
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Predictions
from deeploc.core.effects import effects
from deeploc.core.results import Measurement
from deeploc.core.task import Task, TaskContext
from deeploc.core.units import UnitMask
from deeploc.errors import ContrastError, TaskError
from deeploc.stimuli import Stimulus
from deeploc.tasks import accuracy, category_probe, label_stability
from deeploc.tasks._class_names import ClassNames
from deeploc.testing import ToyAdapter

from .colours import CLASSES, CONDITIONS, WEIGHTS, ColourAdapter, paint, paint_all
from .conftest import stat_map_of

Stimuli = Mapping[str, Sequence[Stimulus]]


@pytest.fixture
def images(tmp_path: Path) -> dict[str, list[Stimulus]]:
    """Return 6 images of each condition; the first 3 localize, the others are held out."""
    return paint_all(tmp_path / "images", 6)


@pytest.fixture
def context(images: Stimuli, tmp_path: Path) -> TaskContext:
    localizing = {name: group[:3] for name, group in images.items()}
    held_out = {name: group[3:] for name, group in images.items()}
    return TaskContext(held_out, ["reds"], tmp_path, localizing=localizing)


def silenced(*colours: int) -> Ablation:
    """Return the ablation of red (0), green (1) or blue (2)."""
    return Ablation(UnitMask(ColourAdapter.sites, np.isin(np.arange(3), colours)))


def values(measured: Sequence[Measurement]) -> dict[tuple[str, str], list[float]]:
    """Return metric and condition -> the amount of each item, which all weigh 1."""
    assert all((m.weight == 1).all() for m in measured)
    return {(m.metric, m.condition): m.amount.tolist() for m in measured}


def prepared(task: Task, adapter: Any = None) -> tuple[Task, Any]:
    adapter = adapter or ColourAdapter()
    task.prepare(adapter)
    return task, adapter


def held_out_colours(n: int = 6) -> dict[str, np.ndarray]:
    """Return red, green and blue (0-1) of the held-out half of `paint_all`, as float64."""
    steps = np.arange(n // 2, n)[:, None] * np.array([1, 2, 1])
    return {name: (np.array(colour) + steps) / 255 for name, colour in CONDITIONS.items()}


class Broken(ColourAdapter):
    """Predicts ``value`` for the second stimulus, once it is set."""

    value: float | None = None

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        predictions = super().classify(stimuli)
        if self.value is not None:
            predictions.logits[1], predictions.features[1] = self.value, self.value
        return predictions


# label-stability


def test_intact_model_is_unchanged(context: TaskContext) -> None:
    """Compared with itself a model has 1 and 0, exactly."""
    task, adapter = prepared(label_stability.make({}, context))
    result = values(task.measure(adapter))

    for condition in CONDITIONS:
        assert result["unchanged", condition] == [1.0] * 3
        assert result["kl", condition] == [0.0] * 3


@pytest.mark.parametrize("silent", [[0], [1], [2], [0, 1], [0, 1, 2]])
def test_stability_by_hand(context: TaskContext, silent: list[int]) -> None:
    """Predictions and divergence of the colours as painted, with scipy's relative entropy."""
    task, adapter = prepared(label_stability.make({}, context))
    with adapter.ablated(silenced(*silent)):
        result = values(task.measure(adapter))

    for condition, colours in held_out_colours().items():
        intact, ablated = (colours * scale @ WEIGHTS for scale in (1, ~np.isin(range(3), silent)))
        same = intact.argmax(axis=1) == ablated.argmax(axis=1)
        kl = entropy(softmax(intact, axis=1), softmax(ablated, axis=1), axis=1)
        assert result["unchanged", condition] == same.tolist()
        np.testing.assert_allclose(result["kl", condition], kl, rtol=1e-5, atol=1e-7)


@given(
    arrays.arrays(np.float32, (2, 4, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
)
def test_divergence_of_extreme_logits(logits: np.ndarray) -> None:
    """However large the logits: finite, never negative, zero against themselves."""
    kl = label_stability._divergence(*logits)

    assert np.isfinite(kl).all()
    assert (kl >= 0).all()
    assert (label_stability._divergence(logits[0], logits[0]) == 0).all()


def test_divergence_of_rounding_is_not_negative(rng: np.random.Generator) -> None:
    """Logits that differ in their last digits: summed naively, half would be below zero."""
    logits = rng.normal(size=(1000, 7))
    kl = label_stability._divergence(logits, logits + 1e-9 * rng.normal(size=logits.shape))

    assert (kl >= 0).all()
    assert kl.max() < 1e-12


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_model_is_changed_and_infinitely_far(context: TaskContext, value: float) -> None:
    """No logit is nan in the scores; the other stimuli are not touched."""
    task, adapter = prepared(label_stability.make({}, context), Broken())
    adapter.value = value
    result = values(task.measure(adapter))

    assert result["unchanged", "reds"] == [1, 0, 1]
    assert result["kl", "reds"] == [0, np.inf, 0]
    assert result["unchanged", "greens"] == [1, 1, 1]


def test_intact_model_must_predict(context: TaskContext) -> None:
    """Nothing can be compared with predictions that are not finite, or the only possible ones."""
    broken = Broken()
    broken.value = np.nan
    with pytest.raises(TaskError, match=r"not finite for 1 of 9 stimuli.*; try --dtype float32$"):
        label_stability.make({}, context).prepare(broken)
    with pytest.raises(TaskError, match="needs a model with at least two classes; colours has one"):
        label_stability.make({}, context).prepare(ColourAdapter(WEIGHTS[:, :1]))
    with pytest.raises(TaskError, match=r"needs .* ability Classifies; toy has none"):
        label_stability.make({}, context).prepare(ToyAdapter())


def test_chosen_conditions(context: TaskContext) -> None:
    """Only these are measured; the numbers are the same."""
    task, adapter = prepared(label_stability.make({"conditions": ["blues"]}, context))
    full, _ = prepared(label_stability.make({}, context))
    with adapter.ablated(silenced(2)):
        result, whole = values(task.measure(adapter)), values(full.measure(adapter))

    assert result == {key: value for key, value in whole.items() if key[1] == "blues"}
    assert adapter.calls[0] == adapter.calls[-1]


@pytest.mark.parametrize("module", [label_stability, category_probe])
def test_options_that_are_wrong(context: TaskContext, module: Any) -> None:
    """An unknown condition or key is named with the nearest known one."""
    with pytest.raises(TaskError, match=r"no condition 'red'; did you mean 'reds'\? there are: re"):
        module.make({"conditions": ["reds", "red"]}, context)
    with pytest.raises(ValidationError, match="did you mean 'conditions'"):
        module.make({"condition": "reds"}, context)


def test_empty_half_is_refused(context: TaskContext) -> None:
    """A condition whose images are all alike has no second half."""
    empty = TaskContext({**context.held_out, "reds": []}, ["reds"], context.base)
    with pytest.raises(TaskError, match="a half of condition 'reds' is empty"):
        label_stability.make({}, empty)


def test_measured_before_prepared(context: TaskContext) -> None:
    """The message says what to call first."""
    for module in (label_stability, category_probe):
        with pytest.raises(TaskError, match=r"was not prepared; call prepare\(\) on the intact"):
            module.make({}, context).measure(ColourAdapter())


# accuracy


def test_accuracy_of_conditions(context: TaskContext) -> None:
    """Intact all are right; without red the red things are cranes (class 3), in the top five."""
    options = {"classes": {"reds": "red thing", "greens": ["Green_Thing"], "blues": [2]}}
    task, adapter = prepared(accuracy.make(options, context))
    intact = values(task.measure(adapter))
    with adapter.ablated(silenced(0)):
        ablated = values(task.measure(adapter))

    assert {key: value for key, value in intact.items() if value != [1.0] * 3} == {}
    assert set(intact) == {(m, c) for m in ("top1", "top5") for c in CONDITIONS}
    assert ablated["top1", "reds"] == [0.0] * 3
    assert ablated["top1", "blues"] == [1.0] * 3


def test_any_of_several_classes_is_right(context: TaskContext) -> None:
    """Blue images are blue things first, cranes second."""
    options = {"classes": {"blues": ["night", "blue thing"], "reds": ["night"]}}
    task, adapter = prepared(accuracy.make(options, context))
    result = values(task.measure(adapter))

    assert result["top1", "blues"] == [1.0] * 3
    assert result["top1", "reds"] == result["top5", "reds"] == [0.0] * 3


def test_top5_needs_more_than_five_classes(context: TaskContext) -> None:
    """Five guesses among five classes are always right: that is not reported."""
    adapter = ColourAdapter(WEIGHTS[:, :5], CLASSES[:5])
    task, _ = prepared(accuracy.make({"classes": {"reds": 0}}, context), adapter)

    assert set(values(task.measure(adapter))) == {("top1", "reds")}


@given(
    arrays.arrays(np.float32, (5, 7), elements=st.integers(-2, 2)),
    st.lists(st.integers(0, 6), min_size=1, unique=True).map(sorted),
)
def test_rank_is_the_place_after_sorting(logits: np.ndarray, right: list[int]) -> None:
    """With ties too: the place of the best right class in a stable sort of the logits."""
    order = np.argsort(-logits, axis=1, kind="stable")
    expected = np.isin(order, right).argmax(axis=1)

    assert accuracy._ranks(logits, right).tolist() == expected.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_prediction_that_is_not_finite_is_wrong(context: TaskContext, value: float) -> None:
    """Even where every class would be right."""
    task, adapter = prepared(
        accuracy.make({"classes": {"reds": [0, 1, 2, 3, 4]}}, context), Broken()
    )
    adapter.value = value
    result = values(task.measure(adapter))

    assert result["top1", "reds"] == result["top5", "reds"] == [1, 0, 1]


@pytest.fixture
def val(tmp_path: Path) -> Path:
    """Return a folder per class below val/, a broken file among them, and a table."""
    for i in range(3):
        paint(tmp_path / f"val/crimson/{i}.png", (200 + i, 0, 0))
        paint(tmp_path / f"val/blue_thing/{i}.png", (100 * i, 0, 200))
    (tmp_path / "val/crimson/9.png").write_bytes(b"")
    (tmp_path / "tables").mkdir()
    table = "label,photo\nred thing,../val/crimson/0.png\nblue thing,../val/crimson/1.png\n"
    (tmp_path / "tables/labels.csv").write_text(table)
    return tmp_path


@pytest.mark.usefixtures("val")
def test_accuracy_of_folders(context: TaskContext, caplog: pytest.LogCaptureFixture) -> None:
    """Folders are labels, each also reported alone; an unreadable image is only a warning."""
    with caplog.at_level(logging.WARNING):
        task = accuracy.make({"val": {"images": "val/*/*.png"}}, context)
    task, adapter = prepared(task)
    with adapter.ablated(silenced(0)):
        result = values(task.measure(adapter))

    assert "leaves out val: val/crimson/9.png is empty" in caplog.text
    assert [stimulus.id for stimulus in adapter.calls[0]] == [
        *(f"val/blue_thing/{i}.png" for i in range(3)),
        *(f"val/crimson/{i}.png" for i in range(3)),
    ]
    # black, which is all that is left of the red ones, has seven equal logits: class 0 is first
    assert result["top1", "val"] == [1, 1, 1, 1, 1, 1]
    assert result["top1", "val/blue_thing"] == result["top1", "val/crimson"] == [1, 1, 1]
    with adapter.ablated(silenced(2)):
        assert values(task.measure(adapter))["top1", "val"] == [0, 0, 0, 1, 1, 1]


@pytest.mark.usefixtures("val")
def test_strict_accuracy_stops_at_a_broken_image(context: TaskContext) -> None:
    """The first image that cannot be read is an error, as it is among the contrast's own."""
    with pytest.raises(ContrastError, match=r"9\.png is empty \(0 bytes\); repair or remove"):
        accuracy.make({"val": {"images": "val/*/*.png"}}, replace(context, strict=True))


def test_accuracy_of_a_table(context: TaskContext, val: Path) -> None:
    """Paths are those below the table's folder, wherever the contrast is; the limit applies."""
    source = {"file": "tables/labels.csv", "column": "photo"}
    task, adapter = prepared(accuracy.make({"mine": source}, context))
    result = values(task.measure(adapter))
    one = TaskContext(context.held_out, context.positive, val, limit=1)

    assert result["top1", "mine"] == [1, 0]
    assert result["top1", "mine/blue thing"] == [0]
    assert result["top5", "mine/blue thing"] == [0]
    assert len(values(prepared(accuracy.make({"mine": source}, one))[0].measure(adapter))) == 2


@pytest.mark.usefixtures("val")
def test_conditions_and_sources_together(context: TaskContext) -> None:
    """Both are measured; one name for two things is refused."""
    source = {"images": "val/crimson"}
    task, adapter = prepared(accuracy.make({"classes": {"reds": "0"}, "val": source}, context))

    assert {c for _, c in values(task.measure(adapter))} == {"reds", "val"}
    with pytest.raises(TaskError, match="has 'reds' twice; call the source something else"):
        accuracy.make({"classes": {"reds": "0"}, "reds": source}, context)


@pytest.mark.usefixtures("val")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^task 'accuracy' has no labels; give .*\{classes: \{CONDITION: CLASS\}\}"),
        ({"classes": {"red": "0"}}, r"no condition 'red'; did you mean 'reds'\?"),
        ({"v": {"file": "tables/labels.csv"}}, r"labels\.csv:2: no 'image'; every item of"),
        ({"v": {"images": "val/crimson/9.png"}}, r"none of 1 images can be read.*9\.png is empty"),
    ],
)
def test_accuracy_options_that_are_wrong(
    context: TaskContext, options: dict[str, Any], message: str
) -> None:
    """Refused before a model is loaded."""
    with pytest.raises(TaskError, match=message):
        accuracy.make(options, context)


@pytest.mark.parametrize("classes", [{}, {"reds": []}, {"reds": {"a": 1}}, ["reds"]])
def test_classes_of_another_form(context: TaskContext, classes: Any) -> None:
    """Pydantic's error has the place."""
    with pytest.raises(ValidationError) as error:
        accuracy.make({"classes": classes}, context)

    assert error.value.errors()[0]["loc"][0] == "classes"


def test_unknown_label_names_the_first_stimulus(context: TaskContext) -> None:
    """Label, place, and the nearest names, in one line."""
    task = accuracy.make({"classes": {"reds": "grin thing"}}, context)
    with pytest.raises(TaskError) as error:
        task.prepare(ColourAdapter())

    assert str(error.value) == (
        "task 'accuracy', reds (3.png): the model has no class 'grin thing'; did you mean "
        "'green thing' or 'red thing' or 'blue thing'? its classes are red thing, green thing, "
        "blue thing, crane, night, ...; or a number from 0 to 6"
    )


def test_model_without_names_goes_by_numbers(context: TaskContext) -> None:
    """Classes without names still have numbers."""
    adapter = ColourAdapter(classes=())
    task, _ = prepared(accuracy.make({"classes": {"reds": "0"}}, context), adapter)

    assert values(task.measure(adapter))["top1", "reds"] == [1, 1, 1]
    for label in ("7", "red thing"):
        with pytest.raises(TaskError, match=r"have no names: give a number from 0 to 6$"):
            accuracy.make({"classes": {"reds": label}}, context).prepare(adapter)


@pytest.mark.parametrize(
    ("label", "number"),
    [
        ("red thing", 0),
        ("RED_THING", 0),
        (" red  thing ", 0),
        ("crimson", 0),
        ("N00000002", 1),
        ("machine", 4),
        ("bird", 6),
        ("6", 6),
        ("06", 6),
    ],
)
def test_labels_that_mean_one_class(label: str, number: int) -> None:
    """Case and underscores do not matter; a first name comes before a later one."""
    assert ClassNames(CLASSES, 7).number(label, "x.csv:2") == number


def test_label_that_means_two_classes() -> None:
    """ImageNet has two cranes; a number decides."""
    with pytest.raises(
        TaskError, match=r"^x\.csv:2: 'Crane' is the name of the classes 3 and 4; give"
    ):
        ClassNames(CLASSES, 7).number("Crane", "x.csv:2")


def test_name_comes_before_number() -> None:
    """A class may be called 7."""
    assert ClassNames([["9"], ["7"], ["8"]], 3).number("7", "") == 1


# category-probe


def test_probe_by_hand(context: TaskContext) -> None:
    """Different colours are separated; when all are silenced every image is the same."""
    task, adapter = prepared(category_probe.make({}, context))
    intact = values(task.measure(adapter))
    with adapter.ablated(silenced(0, 1, 2)):
        black = values(task.measure(adapter))
    with adapter.ablated(silenced(2)):
        no_blue = values(task.measure(adapter))

    assert intact == {("accuracy", name): [1.0] * 3 for name in CONDITIONS}
    assert sorted(black.values()) == [[0.0] * 3, [0.0] * 3, [1.0] * 3]
    assert no_blue["accuracy", "reds"] == no_blue["accuracy", "greens"] == [1.0] * 3
    assert no_blue["accuracy", "blues"] == [0.0] * 3


def test_probe_is_trained_once_on_what_localized(context: TaskContext) -> None:
    """The localizing half is classified once, intact; later only the held-out half."""
    task, adapter = prepared(category_probe.make({}, context))
    with adapter.ablated(silenced(1)):
        task.measure(adapter)

    localizing, held_out = (
        tuple(stimulus for group in half.values() for stimulus in group)
        for half in (context.localizing, context.held_out)
    )
    assert adapter.calls == [localizing, held_out]


def test_probe_without_halves_is_not_tested_on_its_training(images: Stimuli) -> None:
    """With ``split: none`` a seeded half of each condition trains, the other tests."""
    five = {name: group[:5] for name, group in images.items()}
    whole = TaskContext(five, ["reds"], Path(), seed=4, localizing=five)
    task = category_probe.make({}, whole)
    again = category_probe.make({}, whole)
    other = category_probe.make({}, TaskContext(five, [], Path(), 5, localizing=five))
    training, testing = task._probe.training.groups(), task._probe.testing.groups()

    for name, group in five.items():
        assert (len(training[name]), len(testing[name])) == (3, 2)
        assert {*training[name]} | {*testing[name]} == {*group}
    assert task._probe.training.stimuli == task._probe.testing.stimuli
    assert task.identity == again.identity != other.identity
    assert values(prepared(task)[0].measure(ColourAdapter()))["accuracy", "blues"] == [1.0] * 2


def test_probe_with_broken_features_is_wrong(context: TaskContext) -> None:
    """A stimulus whose features are not finite is predicted wrong."""
    task, adapter = prepared(category_probe.make({}, context), Broken())
    adapter.value = np.nan

    assert values(task.measure(adapter))["accuracy", "reds"] == [1, 0, 1]


def test_probe_needs_two_conditions_and_stimuli_to_learn_from(context: TaskContext) -> None:
    """A probe needs two conditions, and stimuli to be trained on."""
    with pytest.raises(TaskError, match=r"at least two conditions to distinguish; it has reds$"):
        category_probe.make({"conditions": "reds"}, context)
    with pytest.raises(TaskError, match="no condition 'reds'; there are: none"):
        category_probe.make({}, TaskContext(context.held_out, [], context.base))


# all of them


def all_tasks(context: TaskContext) -> list[Task]:
    options = {"classes": {name: i for i, name in enumerate(CONDITIONS)}}
    return [
        label_stability.make({}, context),
        accuracy.make(options, context),
        category_probe.make({}, context),
    ]


@pytest.mark.parametrize("number", range(3))
def test_identity_follows_the_content_of_images(
    context: TaskContext, tmp_path: Path, number: int
) -> None:
    """Other bytes are another task; another place, name or time is not."""
    before = all_tasks(context)[number].identity
    moved = {n: [Stimulus("elsewhere", tmp_path / f"{n}{i}") for i in range(3)] for n in CONDITIONS}
    for name, group in moved.items():
        for old, new in zip(context.held_out[name], group, strict=True):
            Path(new.content).write_bytes(Path(old.content).read_bytes())
    same = TaskContext(moved, ["reds"], tmp_path, localizing=context.localizing)
    assert all_tasks(same)[number].identity == before

    paint(Path(moved["blues"][2].content).with_suffix(".png"), (1, 2, 3))
    Path(moved["blues"][2].content).with_suffix(".png").replace(moved["blues"][2].content)
    assert all_tasks(same)[number].identity != before


def test_identity_of_accuracy_follows_the_labels(context: TaskContext) -> None:
    """Another class is another question."""
    first, second = (accuracy.make({"classes": {"reds": c}}, context) for c in ("0", "1"))

    assert first.identity != second.identity


def test_identity_of_the_probe_follows_its_training(context: TaskContext) -> None:
    """The localizing half decides the probe, which is not tested on it; other tasks ignore it."""
    before = [task.identity for task in all_tasks(context)]
    paint(Path(context.localizing["reds"][0].content), (1, 2, 3))
    after = [task.identity for task in all_tasks(context)]

    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]


def test_every_task_classifies_the_same_stimuli(context: TaskContext) -> None:
    """All tasks classify the same stimuli in the same order: one forward pass serves them."""
    adapter, tasks = ColourAdapter(), all_tasks(context)
    for task in tasks:
        task.prepare(adapter)
    adapter.calls.clear()
    for task in tasks:
        task.measure(adapter)

    assert len(set(adapter.calls)) == 1


def test_evaluation_with_controls(context: TaskContext) -> None:
    """Without the most red of three units reds suffer more than under any matched control."""
    adapter = ColourAdapter()
    stat_map = stat_map_of(np.array([9.0, 1.0, 0.0]), ColourAdapter.sites)
    top = UnitMask(ColourAdapter.sites, np.array([True, False, False]))
    todo = plan(stat_map, top, Ablate.model_validate({"controls": {"random": 20}}), seed=0)
    tasks = all_tasks(context)
    scores = evaluate(adapter, tasks, todo.cells)
    changes = effects(scores, {task.name: task.metrics for task in tasks})
    verdicts = {(e.task, e.metric, e.condition): e.verdict for e in changes}

    for task, metric in (
        ("label-stability", "unchanged"),
        ("label-stability", "kl"),
        ("accuracy", "top1"),
        ("category-probe", "accuracy"),
    ):
        assert verdicts[task, metric, "reds"] == "beyond random"
    assert verdicts["accuracy", "top1", "blues"] == "unharmed"
    assert len(scores) == (1 + 1 + 20) * 3 * (2 + 2 + 1)
