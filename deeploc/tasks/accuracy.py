"""Accuracy: whether a classifier predicts the labels of stimuli."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field

from deeploc.contrast.sources import as_text
from deeploc.contrast.validation import StrictModel, Text, as_list
from deeploc.core.adapter import Adapter, Classifies
from deeploc.core.attribution import Labelled, Term, mean_terms
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext, require
from deeploc.errors import TaskError

from ._class_names import ClassNames
from ._items import items_hash, read_labelled_images
from ._stimulus_set import StimulusSet, prepared

NAME = "accuracy"

TOP = 5
"""How many guesses ``top5`` allows; it is measured where the model has more classes than that."""

Labels = tuple[str, ...]
"""Names of classes any of which is right."""

Rows = Int[np.ndarray, " row"]

Groups = Mapping[str, Mapping[Labels, Rows]]
"""Condition -> labels -> the stimuli that have them, counted within the condition."""

Ranks = Int[np.ndarray, " stimulus"]
"""How many classes come before the right one."""


class Accuracy:
    """``top1`` and ``top5`` (0-1): the right class is the most probable one, or among five.

    Where several classes are right, the most probable of them counts; of equally probable classes
    the one with the lower number comes first. top5 is left out for models of five classes or
    fewer, which always have it. A condition whose stimuli have different labels is also reported
    per label, as ``CONDITION/LABEL``. A stimulus without a finite prediction is wrong.

    Parameters
    ----------
    sets
        Stimuli that are presented together, with the labels of every condition.
    """

    name = NAME
    metrics: Mapping[str, Better] = {"top1": "higher", "top5": "higher"}
    needs: tuple[type, ...] = (Classifies,)

    def __init__(self, sets: Sequence[tuple[StimulusSet, Groups]]) -> None:
        self._sets = sets
        self._right: Mapping[Labels, list[int]] | None = None
        self.identity = {"items": [_identity(presented, groups) for presented, groups in sets]}

    def check(self, adapter: Adapter) -> None:
        """Match every label to a class, where the model names its classes.

        Raises
        ------
        TaskError
            If a label means no class of the model, or several.
        """
        if classes := require(adapter, Classifies, NAME).classes:
            self._classes(ClassNames(classes, len(classes)))

    def prepare(self, adapter: Adapter) -> None:
        """Match every label to a class; a model that names none shows how many it has.

        Raises
        ------
        TaskError
            If a label means no class of the model, or several.
        """
        classes = require(adapter, Classifies, NAME).classes
        n_classes = len(classes) or self._sets[0][0].classified(adapter, NAME).logits.shape[1]
        self._right = self._classes(ClassNames(classes, n_classes))

    def loss(self) -> list[Term]:
        """Return the mean cross entropy of the true classes."""
        right = prepared(self._right, NAME)
        return mean_terms(
            [
                Labelled(presented.stimuli[row], tuple(right[labels]))
                for presented, groups in self._sets
                for condition, by_label in groups.items()
                for labels, rows in by_label.items()
                for row in presented.rows[condition][rows]
            ]
        )

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return top1 and top5 per condition, and per label within it."""
        right = prepared(self._right, NAME)
        measurements = []
        for presented, groups in self._sets:
            logits = presented.classified(adapter, NAME).logits
            for condition, by_label in groups.items():
                ranks = np.empty(len(presented.rows[condition]), dtype=np.int64)
                parts = {condition: ranks}
                for labels, rows in by_label.items():
                    ranks[rows] = _ranks(logits[presented.rows[condition][rows]], right[labels])
                    if len(by_label) > 1:
                        parts[f"{condition}/{labels[0]}"] = ranks[rows]
                for name, chosen in parts.items():
                    measurements += _hits(name, chosen, logits.shape[1])
        return measurements

    def _classes(self, names: ClassNames) -> dict[Labels, list[int]]:
        return {
            labels: sorted({names.number(label, place) for label in labels})
            for presented, groups in self._sets
            for labels, place in _places(presented, groups)
        }


def _as_labels(value: Any) -> Any:
    listed = as_list(value)  # YAML reads a class number as a number
    return [as_text(label) for label in listed] if isinstance(listed, list) else listed


class _Classes(StrictModel):
    """Options of the task over the conditions of the contrast."""

    classes: Mapping[Text, Annotated[Labels, Field(min_length=1), BeforeValidator(_as_labels)]] = (
        Field(min_length=1)
    )
    """Condition of the contrast -> the class, or classes, of the model that its stimuli show."""


def make(options: Mapping[str, Any], context: TaskContext) -> Accuracy:
    """Return the task over the held-out half, over labelled sources, or over both.

    Parameters
    ----------
    options
        ``classes`` maps conditions of the contrast to their class; any other key is a condition
        with the source of its stimuli and labels.
    context
        Gives the held-out half and how sources are read.

    Raises
    ------
    TaskError
        If there is no label, a condition does not exist, or one name is given twice.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    if not options:
        raise TaskError(
            f"task {NAME!r} has no labels; give the classes of the conditions, "
            f"`{NAME}: {{classes: {{CONDITION: CLASS}}}}`, or labelled images, "
            f"`{NAME}: {{NAME: {{images: 'FOLDER/*/*.jpg'}}}}` or --task {NAME}=LABELS.csv"
        )
    sources = {name: source for name, source in options.items() if name != "classes"}
    sets: list[tuple[StimulusSet, Groups]] = []
    if "classes" in options:
        classes = _Classes.model_validate({"classes": options["classes"]}).classes
        presented = StimulusSet.of(context.held_out).only(NAME, list(classes))
        groups = {c: {classes[c]: np.arange(len(presented.rows[c]))} for c in classes}
        sets.append((presented, groups))
        if twice := [name for name in sources if name in classes]:
            raise TaskError(f"task {NAME!r} has {twice[0]!r} twice; call the source something else")
    if sources:
        sets.append(_of_sources(sources, context))
    return Accuracy(sets)


def _of_sources(options: Mapping[str, Any], context: TaskContext) -> tuple[StimulusSet, Groups]:
    images = read_labelled_images(NAME, options, context)
    stimuli = {name: [stimulus for stimulus, _ in pairs] for name, pairs in images.items()}
    groups: dict[str, dict[Labels, Rows]] = {}
    for name, pairs in images.items():
        column = np.array([label for _, label in pairs])
        groups[name] = {(str(one),): np.flatnonzero(column == one) for one in np.unique(column)}
    return StimulusSet.of(stimuli), groups


def _identity(presented: StimulusSet, groups: Groups) -> dict[str, Any]:
    labels = {
        name: [(labels, rows.tolist()) for labels, rows in by_label.items()]
        for name, by_label in groups.items()
    }
    return {"stimuli": presented.identity(), "labels": items_hash(labels)}


def _places(presented: StimulusSet, groups: Groups) -> Iterator[tuple[Labels, str]]:
    """Yield all labels with the place of the first stimulus that has them."""
    for condition, by_label in groups.items():
        for labels, rows in by_label.items():
            stimulus = presented.stimuli[presented.rows[condition][rows[0]]]
            yield labels, f"task {NAME!r}, {condition} ({stimulus.id})"


def _ranks(logits: Float[np.ndarray, "stimulus class"], right: Sequence[int]) -> Ranks:
    """Return how many classes come before the best of the ``right`` ones: all, if not finite."""
    best = np.asarray(right)[logits[:, right].argmax(axis=1)][:, None]
    value = np.take_along_axis(logits, best, axis=1)
    n_classes = logits.shape[1]
    before = (logits > value) | ((logits == value) & (np.arange(n_classes) < best))
    finite = np.isfinite(logits).all(axis=1)
    ranks: Ranks = np.where(finite, before.sum(axis=1), n_classes)
    return ranks


def _hits(condition: str, ranks: Ranks, n_classes: int) -> list[Measurement]:
    each = np.ones(len(ranks))
    tops = {"top1": 1, "top5": TOP} if n_classes > TOP else {"top1": 1}
    return [
        Measurement(metric, condition, (ranks < top).astype(np.float64), each)
        for metric, top in tops.items()
    ]
