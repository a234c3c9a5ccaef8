"""Questions: prompts with several options, made from a contrast's own stimuli or from items."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from deeploc.contrast.validation import StrictModel, Text
from deeploc.core.adapter import TextRequest
from deeploc.core.task import TaskContext
from deeploc.errors import TaskError, nearest
from deeploc.stimuli import Record, Stimulus

from ._items import read_items
from ._stimulus_set import StimulusSet

OPTION_KEYS = ("prompt", "options")
"""Keys that are not conditions; every other key is one, with the source of its items."""

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    r"""A prompt in which ``{column}`` stands for the value of an item in that column.

    Between braces is the exact name of a column, never a format or an attribute; ``{{`` and
    ``}}`` are literal braces. Inserted values are not expanded again.

    Raises
    ------
    ValueError
        If a brace is single, or no column is named.

    Examples
    --------
    >>> Template("{{{text}}} is {text.__class__}").columns
    ('text', 'text.__class__')
    >>> Template("Q: {question}\nA:").filled({"question": "Is {1} a set?"})
    'Q: Is {1} a set?\nA:'
    """

    text: str

    def __post_init__(self) -> None:
        for match in _BRACES.finditer(self.text):
            if len(match[0]) == 1:
                raise ValueError(
                    f"character {match.start() + 1} is a single {match[0]!r}; write {{column}} "
                    "for a column, {{ or }} for a brace"
                )
        if not self.columns:
            raise ValueError(
                f"{self.text!r} names no column, so that every prompt would be the same; "
                "write {column} where an item's own text goes"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that an item needs, each once, in order of first appearance."""
        names = (match[1] for match in _BRACES.finditer(self.text))
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def filled(self, fields: Mapping[str, str]) -> str:
        """Return the text with ``fields`` (column -> value of one item) inserted."""
        return _BRACES.sub(lambda m: m[0][0] if m[1] is None else fields[m[1]], self.text)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, the options that may follow it, and the position of the right one."""

    prompt: str
    options: tuple[str, ...]
    right: int

    @property
    def requests(self) -> list[TextRequest]:
        """One request an option: the option after one space, or the prompt's final white space.

        That white space is scored with the option: most tokenizers join it to some words and not
        to others, so that options would start at different tokens if it belonged to the prompt.

        Source: ``_encode_pair`` in ``lm_eval/api/model.py`` of lm-evaluation-harness.
        """
        prompt = self.prompt.rstrip()
        space = self.prompt[len(prompt) :] or " "
        return [TextRequest(prompt, space + option) for option in self.options]


def _valid_options(options: Sequence[str]) -> tuple[str, ...]:
    for option in options:
        if option != option.strip() or not option:
            raise ValueError(
                f"{option!r} is empty, or begins or ends with white space; write the words alone, "
                "the space before them is the prompt's"
            )
        if options.count(option) > 1:
            raise ValueError(f"{option!r} is listed twice; options must differ")
    if len(options) < 2:
        raise ValueError(f"{len(options)} to choose from; give at least two")
    return tuple(options)


def _valid_words(words: Mapping[str, str]) -> Mapping[str, str]:
    _valid_options(list(words.values()))
    return words


def _valid_template(text: str) -> str:
    return Template(text).text


def _valid_text_template(text: str) -> str:
    for column in Template(text).columns:
        if column != "text":
            hint = nearest(column, ["text"])
            raise ValueError(
                f"stimuli of the contrast have no column {column!r}; {hint}use {{text}}"
            )
    return text


class ContrastQuestions(StrictModel):
    """Options of a task that asks about the stimuli of the contrast."""

    prompt: Annotated[Text, AfterValidator(_valid_text_template)] = "{text}"
    """A template over the column ``text``."""

    options: Annotated[Mapping[Text, str], AfterValidator(_valid_words)]
    """Condition of the contrast -> the word that is right for its stimuli."""


class ItemQuestions(StrictModel):
    """Options of a task that asks about items of its own."""

    prompt: Annotated[Text, AfterValidator(_valid_template)] = "{text}"
    """A template over the columns of an item."""

    options: Annotated[tuple[str, ...], AfterValidator(_valid_options)] | None = None
    """The options of every item; default: those in the item's own column ``options``."""


def questions_of_contrast(
    task: str, options: ContrastQuestions, context: TaskContext
) -> dict[str, list[Question]]:
    """Return condition -> questions about its held-out stimuli, for every condition with a word.

    Parameters
    ----------
    task
        Name of the task, for messages.
    options
        The template and the word of each condition.
    context
        Gives the held-out stimuli.

    Raises
    ------
    TaskError
        If a condition does not exist, has no stimulus, or has one that is an image.
    """
    template, words = Template(options.prompt), tuple(options.options.values())
    groups = StimulusSet.of(context.held_out).only(task, list(options.options)).groups()
    return {
        condition: [
            Question(template.filled({"text": _text(task, stimulus)}), words, number)
            for stimulus in groups[condition]
        ]
        for number, condition in enumerate(options.options)
    }


def _text(task: str, stimulus: Stimulus) -> str:
    if isinstance(stimulus.content, str):
        return stimulus.content
    raise TaskError(
        f"task {task!r} asks about texts, and {stimulus.id} is an image; leave the task out"
    )


def questions_of_items(
    task: str, options: ItemQuestions, sources: Mapping[str, Any], context: TaskContext
) -> dict[str, list[Question]]:
    """Return condition -> questions about its items.

    Parameters
    ----------
    task
        Name of the task, for messages.
    options
        The template, and the options where all items have the same.
    sources
        Condition -> source of its items, as the contrast file gives it.
    context
        Gives the folder of relative paths, the seed and the largest number of items a condition.

    Raises
    ------
    TaskError
        If an item lacks a column, or its options or answer are not valid; names its row.
    ContrastError
        If a source cannot be read.
    pydantic.ValidationError
        If the description of a source is not valid.
    """
    template = Template(options.prompt)
    needed = [*template.columns, "answer", *(() if options.options else ("options",))]
    rows = read_items(task, sources, list(dict.fromkeys(needed)), context)
    return {
        condition: [_question(row, template, options.options or _own_options(row)) for row in group]
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


def _own_options(row: Record) -> tuple[str, ...]:
    """Return the options in a row's column ``options``."""
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
        return _valid_options(listed)
    except ValueError as error:
        raise TaskError(f"{row.id}: options: {error}") from None
