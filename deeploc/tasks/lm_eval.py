"""Tasks of lm-evaluation-harness, measured on the model as it is: intact, ablated, controls."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from deeploc.contrast.validation import StrictModel, Text, Texts, Whole, as_list
from deeploc.core.adapter import Adapter
from deeploc.core.harness import Question
from deeploc.core.results import Better, Measurement
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError

from ._harness_answers import answers_of, needed
from ._harness_library import NAME
from ._harness_load import load_tasks
from ._harness_task import HarnessTask

_log = logging.getLogger(__name__)


class TaskOptions(StrictModel):
    """Options of one task of the harness."""

    limit: Annotated[Whole, Field(ge=1)] | None = None
    """The first so many items; null: all."""
    num_fewshot: Annotated[Whole, Field(ge=0)] | None = None
    """Examples before every item; null: as many as the task has."""


_OfTask = Annotated[Mapping[Text, TaskOptions], Field(min_length=1, max_length=1)]
_Entry = Text | _OfTask


class Options(TaskOptions):
    """Options of all tasks of the harness, and what these are."""

    tasks: Annotated[tuple[_Entry, ...], BeforeValidator(as_list), Field(min_length=1)]
    """Tasks, groups or tags of the harness; ``*`` stands for any text. One that has options of its
    own is a mapping of its name to them. Of a task that several name, the first counts."""
    include_path: Texts | None = None
    """Folders with further task files."""

    def by_name(self) -> dict[str, TaskOptions]:
        """Return name -> options, its own before those of all."""
        pairs = [{each: self} if isinstance(each, str) else each for each in self.tasks]
        return {
            name: TaskOptions(
                limit=self.limit if own.limit is None else own.limit,
                num_fewshot=self.num_fewshot if own.num_fewshot is None else own.num_fewshot,
            )
            for pair in pairs
            for name, own in pair.items()
        }


class LmEval:
    """The metrics of tasks of lm-evaluation-harness; each task is a condition.

    The harness builds the requests and computes the metrics of every item; the model answers, with
    its ablation if it has one. What the harness averages over items has the same value here, and
    an interval from the same bootstrap as every other outcome. Metrics that are no ratio of sums
    over items (F1, correlations, BLEU) are left out with a notice.

    Source: Gao et al. (2024), doi:10.5281/zenodo.12608602.

    Parameters
    ----------
    tasks
        Tasks of the harness.

    Raises
    ------
    TaskError
        If no metric of the tasks can be measured, or two tasks disagree on what is better.
    """

    name = NAME

    def __init__(self, tasks: Sequence[HarnessTask]) -> None:
        self._tasks = [task for task in tasks if task.rules]
        for task in tasks:
            if task.left_out:
                _log.warning(
                    "task %r: of %s is left out: %s (no mean over items)",
                    *(NAME, task.name, ", ".join(task.left_out)),
                )
        if not self._tasks:
            raise TaskError(
                f"task {NAME!r}: no metric of {', '.join(task.name for task in tasks)} is a mean "
                "over items; name tasks that have one, e.g. acc or exact_match"
            )
        self.metrics = _directions(self._tasks)
        self._questions: dict[Question, list[tuple[int, int]]] = defaultdict(list)
        for number, task in enumerate(self._tasks):
            for index, request in enumerate(task.requests):
                self._questions[request.request_type].append((number, index))
        self.needs = needed(list(self._questions))
        self.identity: Mapping[str, Any] = {
            "lm_eval": version("lm_eval"),
            "tasks": {task.name: task.identity for task in self._tasks},
        }

    @property
    def chance(self) -> dict[str, float]:
        """``METRIC/TASK`` -> what guessing scores."""
        return {
            f"{metric}/{task.name}": value
            for task in self._tasks
            for metric, value in task.chance.items()
        }

    def prepare(self, adapter: Adapter) -> None:
        """Learn nothing: a task of the harness is measured alike on every model."""
        del adapter

    def measure(self, adapter: Adapter) -> list[Measurement]:
        """Return every metric of every task.

        Raises
        ------
        TaskError
            If the harness cannot compute a metric from the answers.
        """
        answers: list[dict[int, Any]] = [{} for _ in self._tasks]
        for question, places in self._questions.items():
            asked = [self._tasks[number].requests[index].args for number, index in places]
            made = answers_of(adapter, question, asked)
            for (number, index), answer in zip(places, made, strict=True):
                answers[number][index] = answer
        return [
            measured
            for task, own in zip(self._tasks, answers, strict=True)
            for measured in task.measurements([own[index] for index in range(len(own))])
        ]


def make(options: Mapping[str, Any], context: TaskContext) -> LmEval:
    """Return the task over tasks of lm-evaluation-harness.

    Parameters
    ----------
    options
        See `Options`; relative folders start at the contrast file.
    context
        Gives this folder, and the largest number of items.

    Raises
    ------
    TaskError
        If the harness is not installed, has no such task, or cannot load it.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    if "tasks" not in options:
        raise TaskError(
            f"task {NAME!r} names no task of lm-evaluation-harness; write `{NAME}: {{tasks: "
            f"[blimp_anaphor_gender_agreement], limit: 200}}`"
        )
    valid = Options.model_validate(options)
    folders = [(context.base / Path(folder)).resolve() for folder in valid.include_path or ()]
    tasks: dict[str, HarnessTask] = {}
    wanted = valid.by_name()
    for name, loaded in load_tasks(list(wanted), folders).items():
        own = wanted[name]
        limits = [limit for limit in (own.limit, context.limit) if limit is not None]
        limit = min(limits, default=None)
        for member, task in loaded.items():
            if member not in tasks:  # a second one would replace the requests of the first
                tasks[member] = HarnessTask(member, task, limit, own.num_fewshot)
    return LmEval(list(tasks.values()))


def _directions(tasks: Sequence[HarnessTask]) -> dict[str, Better]:
    """Return metric -> which direction is good, the first task's first metric first."""
    better: dict[str, Better] = {}
    for task in tasks:
        for metric, direction in task.better.items():
            if better.setdefault(metric, direction) != direction:
                raise TaskError(
                    f"task {NAME!r}: more {metric} is better in one task and worse in "
                    f"{task.name!r}; measure them in separate runs"
                )
    return better
