"""One task of lm-evaluation-harness: its requests, and its metrics given the answers."""

import hashlib
import inspect
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from deeploc.core.results import Better, Measurement
from deeploc.errors import TaskError

from ._harness_library import NAME, SEEDS, as_by_itself
from ._harness_metrics import Rule, measurement, rule_of

_GUESSED = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")
"""Metrics of a choice, of which guessing gets its share."""

_PLACES = ("metadata", "dataset_kwargs", "dataset_path")
"""Parts of a task's config that say where its items are; they are identified by what they are."""


class HarnessTask:
    """A task of the harness, its requests built as ``lm_eval.simple_evaluate`` builds them.

    Parameters
    ----------
    name
        What the harness calls it.
    task
        The harness's own object.
    limit
        Number of items, the first ones; None: all.
    num_fewshot
        Number of examples before each item; None: as the task has it.

    Raises
    ------
    TaskError
        If the task cannot be asked of a model of texts.
    """

    def __init__(
        self, name: str, task: Any, limit: int | None = None, num_fewshot: int | None = None
    ) -> None:
        self.name = name
        self._task = task
        self._limit = limit
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            raise TaskError(
                f"task {NAME!r}: {name!r} runs code that the model writes, or shows it more than "
                "text; leave it out"
            )
        with as_by_itself(f"task {NAME!r}: the items of {name!r} cannot be built"):
            if task.get_config("num_fewshot") != 0:  # an explicit 0 is never overruled
                own = task.get_config("num_fewshot") or 0
                task.set_config("num_fewshot", own if num_fewshot is None else num_fewshot)
            task.set_fewshot_seed(seed=SEEDS["fewshot"])
            task.build_all_requests(limit=limit, rank=0, world_size=1)
            self._docs = list(task.doc_iterator(rank=0, limit=limit, world_size=1))
            self.requests = tuple(each for each in task.instances for _ in range(each.repeats or 1))

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """Metric -> how it is a ratio of sums over items; metrics that are none are not there.

        A task that reads the answers in several ways has each metric once for every filter, called
        ``METRIC,FILTER`` as in the harness's own results.
        """
        found = {metric: rule_of(how) for metric, how in self._task.aggregation().items()}
        named = [("" if f.name == "none" else f",{f.name}") for f in self._task._filters]
        return {
            f"{metric}{suffix}": rule for suffix in named for metric, rule in found.items() if rule
        }

    @property
    def left_out(self) -> list[str]:
        """Metrics that are no ratio of sums over items."""
        return [metric for metric, how in self._task.aggregation().items() if rule_of(how) is None]

    @property
    def better(self) -> dict[str, Better]:
        """Metric -> whether ``higher`` or ``lower`` values mean a better model."""
        higher = self._task.higher_is_better()
        return {
            metric: "higher" if higher.get(metric.partition(",")[0], True) else "lower"
            for metric in self.rules
        }

    @property
    def chance(self) -> dict[str, float]:
        """Metric -> what guessing scores: one in as many as an item has options."""
        if self._task.get_config("output_type") != "multiple_choice":
            return {}
        sizes = [len(self._task.doc_to_choice(doc)) for _, doc in self._docs]
        guessing = float(np.mean([1 / size for size in sizes]))
        return {metric: guessing for metric in self.rules if metric.partition(",")[0] in _GUESSED}

    @property
    def identity(self) -> dict[str, Any]:
        """The task's own version, hashes of how it measures and of what is asked, its options."""
        config = {k: v for k, v in self._task.dump_config().items() if k not in _PLACES}
        docs = [doc for _, doc in self._docs]
        asked = [(each.request_type, each.doc_id, each.args) for each in self.requests]
        return {
            "version": str(self._task.VERSION),
            "config": _hash(config),
            "items": _hash([docs, asked]),
            "limit": self._limit,
            "num_fewshot": self._task.get_config("num_fewshot"),
        }

    def measurements(self, answers: Sequence[Any]) -> list[Measurement]:
        """Return every metric, item by item.

        Parameters
        ----------
        answers
            The answer to every request, in order.

        Raises
        ------
        TaskError
            If the task cannot be computed from them.
        """
        for each in self._task.instances:
            each.resps, each.filtered_resps = [], {}
        for each, answer in zip(self.requests, answers, strict=True):
            each.resps.append(answer)
        with as_by_itself(f"task {NAME!r}: the metrics of {self.name!r} cannot be computed"):
            self._task.apply_filters()
            values = self._values()
        made = [
            measurement(m, self.name, values[m], r) for m, r in self.rules.items() if m in values
        ]
        return [each for each in made if each is not None]

    def _values(self) -> dict[str, list[Any]]:
        """Return what the harness says of every item, by metric.

        Source: ``evaluate`` in ``lm_eval/evaluator.py``.
        """
        of_item = defaultdict(list)
        for each in sorted(self._task.instances, key=lambda each: each.idx):
            of_item[each.doc_id].append(each)
        values = defaultdict(list)
        for key in self._task.instances[0].filtered_resps:
            suffix = "" if key == "none" else f",{key}"
            for number, doc in self._docs:
                answers = [each.filtered_resps[key] for each in of_item[number]]
                for metric, value in self._task.process_results(doc, answers).items():
                    values[f"{metric}{suffix}"].append(value)
        return values


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_described)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(value: Any) -> str:
    """Return a value that is no JSON as text that is the same in every process."""
    if callable(value):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):  # made at run time, or of C
            return str(getattr(value, "__qualname__", type(value).__qualname__))
    text = str(value)
    return type(value).__qualname__ if " at 0x" in text else text
