"""Questions: prompts with options, made of a contrast's own stimuli or of items."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from deeploc.contrast.validation import StrictModel, Text
from deeploc.core.adapter import TextRequest
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError, nearest
from deeploc.stimuli import Record, Stimulus

from ._items import items
from ._shown import Shown
from ._template import Template

KEYS = ("prompt", "options")
"""What is no condition; every other key is one, with the source of its items."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, the options it may go on with, and the number of the right one."""

    prompt: str
    options: tuple[str, ...]
    right: int

    @property
    def requests(self) -> list[TextRequest]:
        """What is scored: each option, behind one space or the white space the prompt ends in.

        That space goes with the option whoever wrote it: most tokenizers join it to some words
        and not to others, so that options would start at different tokens if it were the prompt's.

        Source: ``_encode_pair`` in ``lm_eval/api/model.py`` of lm-evaluation-harness.
        """
        prompt = self.prompt.rstrip()
        space = self.prompt[len(prompt) :] or " "
        return [TextRequest(prompt, space + option) for option in self.options]


def _usable(options: Sequence[str]) -> tuple[str, ...]:
    """Return the options; raise ValueError if one cannot be chosen."""
    for option in options:
        if option != option.strip() or not option:
            raise ValueError(
                f"{option!r} is empty, or begins or ends with white space; write the words alone, "
                "the space before them is the prompt's"
            )
        if options.count(option) > 1:
            raise ValueError(f"{option!r} is there twice; options must differ")
    if len(options) < 2:
        raise ValueError(f"{len(options)} to choose from; give at least two")
    return tuple(options)


def _usable_words(words: Mapping[str, str]) -> Mapping[str, str]:
    _usable(list(words.values()))
    return words


def _is_template(text: str) -> str:
    return Template(text).text


def _of_text(text: str) -> str:
    for column in Template(text).columns:
        if column != "text":
            hint = nearest(column, ["text"])
            raise ValueError(
                f"stimuli of the contrast have no column {column!r}; {hint}use {{text}}"
            )
    return text


class Words(StrictModel):
    """A template over the column ``text``; condition of the contrast -> its word."""

    prompt: Annotated[Text, AfterValidator(_of_text)] = "{text}"
    options: Annotated[Mapping[Text, str], AfterValidator(_usable_words)]


class Asked(StrictModel):
    """A template over the columns of an item; the options of every item, if they are the same."""

    prompt: Annotated[Text, AfterValidator(_is_template)] = "{text}"
    options: Annotated[tuple[str, ...], AfterValidator(_usable)] | None = None


def over_contrast(task: str, said: Words, context: TaskContext) -> dict[str, list[Question]]:
    """Return the questions about the held-out stimuli of every condition that has a word.

    Raises
    ------
    TaskError
        If such a condition does not exist, holds no stimulus, or one that is an image.
    """
    template, words = Template(said.prompt), tuple(said.options.values())
    shown = Shown.of(context.held_out).only(task, list(said.options)).groups()
    return {
        condition: [
            Question(template.filled({"text": _text(task, stimulus)}), words, number)
            for stimulus in shown[condition]
        ]
        for number, condition in enumerate(said.options)
    }


def _text(task: str, stimulus: Stimulus) -> str:
    if isinstance(stimulus.content, str):
        return stimulus.content
    raise TaskError(
        f"task {task!r} asks about texts, and {stimulus.id} is an image; leave the task out"
    )


def over_items(
    task: str, said: Asked, sources: Mapping[str, Any], context: TaskContext
) -> dict[str, list[Question]]:
    """Return the questions of the items of every condition in ``sources``.

    Raises
    ------
    TaskError
        If an item lacks a column, or its options or answer are not usable; names its row.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If a source is not described as it must be.
    """
    template = Template(said.prompt)
    needed = [*template.columns, "answer", *(() if said.options else ("options",))]
    rows = items(task, sources, list(dict.fromkeys(needed)), context)
    return {
        condition: [_question(row, template, said.options or _listed(row)) for row in group]
        for condition, group in rows.items()
    }


def _question(row: Record, template: Template, options: tuple[str, ...]) -> Question:
    answer = row.fields["answer"]
    if answer not in options:
        raise TaskError(
            f"{row.id}: the answer {answer!r} is none of the options; "
            f"{nearest(answer, options)}they are: {', '.join(options)}"
        )
    return Question(template.filled(row.fields), options, options.index(answer))


def _listed(row: Record) -> tuple[str, ...]:
    """Return the options in a row's own column."""
    cell = row.fields["options"]
    try:
        listed = json.loads(cell)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(option, str) for option in listed):
        raise TaskError(
            f"{row.id}: options are {cell[:60]!r}; they must be a JSON list of texts, "
            'e.g. ["True", "False"]'
        )
    try:
        return _usable(listed)
    except ValueError as error:
        raise TaskError(f"{row.id}: options: {error}") from None
