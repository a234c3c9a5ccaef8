"""Choice and text-probe, against transformers, SciPy, and models worked out by hand."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import minimize

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.analysis.tasks import make_tasks
from deeploc.contrast.model import Contrast, load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter, Batch, TextRequest, TextScore
from deeploc.core.readout import Readout
from deeploc.core.results import Measurement
from deeploc.core.task import HasChance, Task, TaskContext
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import ContrastError, TaskError
from deeploc.experiment import run_all
from deeploc.plugins import load_model
from deeploc.runs.inputs import sampled_stimuli
from deeploc.runs.setup import Setup
from deeploc.stimuli import Stimulus
from deeploc.tasks import choice, text_probe
from deeploc.tasks._questions import Template
from deeploc.testing import ToyAdapter

from .adapters.conftest import model_of, tokenizer_of
from .test_probe import naive_loss

LOGPROBS = {"glad": -1.0, "sad": -2.0, "cross": -3.0}
"""Log-probability (nats) of words in a `Scorer`, whatever the prompt."""


class Scorer(ToyAdapter):
    """A model whose log-probabilities are given; ``calls`` are the requests of every call."""

    def __init__(self, logprob: Callable[[TextRequest], float] | None = None) -> None:
        super().__init__()
        self.calls: list[list[TextRequest]] = []
        self._logprob = logprob or (lambda request: LOGPROBS[request.completion.strip()])

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        self.calls.append(list(requests))
        return [TextScore(self._logprob(r), len(r.completion.split()), True) for r in requests]


def stimuli(*texts: str) -> list[Stimulus]:
    return [Stimulus(f"texts:{i}", text) for i, text in enumerate(texts)]


@pytest.fixture
def context(tmp_path: Path) -> TaskContext:
    """Return halves of three conditions, 3 + 2 texts each."""
    held_out = {c: stimuli(f"{c} one", f"{c} two") for c in ("joy", "grief", "anger")}
    localizing = {c: stimuli(f"{c} a", f"{c} b", f"{c} c") for c in held_out}
    return TaskContext(held_out, ["joy"], tmp_path, localizing=localizing)


WORDS = {"joy": "glad", "grief": "sad"}


def values(measured: Sequence[Measurement]) -> dict[tuple[str, str], list[float]]:
    """Return metric and condition -> the amount of each item, which all weigh 1."""
    assert all((m.weight == 1).all() for m in measured)
    return {(m.metric, m.condition): m.amount.tolist() for m in measured}


def measured(task: Task, adapter: Adapter) -> dict[tuple[str, str], list[float]]:
    task.prepare(adapter)
    return values(task.measure(adapter))


def written(context: TaskContext, rows: Sequence[Mapping[str, Any]], name: str = "q") -> Any:
    """Write items beside the contrast and return their source."""
    lines = [json.dumps(row) for row in rows]
    (context.base / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return {"file": f"{name}.jsonl"}


# templates


@given(st.dictionaries(st.text("ab {}_.!:", max_size=4), st.text(max_size=8), min_size=1))
def test_template_inserts_columns_and_nothing_else(fields: dict[str, str]) -> None:
    """Any column without braces in its name; inserted text is not expanded again."""
    columns = [name for name in fields if not {"{", "}"} & set(name)]
    text = "}}{{" + "-".join(f"{{{name}}}" for name in columns) + "{{}}"
    expected = "}{" + "-".join(fields[name] for name in columns) + "{}"

    if columns:
        assert Template(text).filled(fields) == expected
        assert Template(text).columns == tuple(columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{text", r"^character 1 is a single '\{'; write \{column\} for a column"),
        ("{text}}", r"^character 7 is a single '\}'"),
        ("{te{xt}", r"^character 1 is a single '\{'"),
        ("The feeling is", r"^'The feeling is' names no column, so that every prompt would be"),
        ("{{text}}", "names no column"),
    ],
)
def test_template_that_is_wrong(text: str, message: str) -> None:
    """The message names the place of a single brace; a prompt needs a column."""
    with pytest.raises(ValueError, match=message):
        Template(text)


# choice, over the contrast's own conditions


def test_choice_over_conditions(context: TaskContext) -> None:
    """A condition is right where its own word is the most probable; logprob is that of its word."""
    options = {"prompt": "{text}\nThe feeling is", "options": WORDS}
    result = measured(choice.make(options, context), scorer := Scorer())

    assert result == {
        ("accuracy", "joy"): [1, 1],
        ("logprob", "joy"): [-1, -1],
        ("accuracy", "grief"): [0, 0],
        ("logprob", "grief"): [-2, -2],
    }
    assert scorer.calls[-1][:2] == [
        TextRequest("joy one\nThe feeling is", " glad"),
        TextRequest("joy one\nThe feeling is", " sad"),
    ]


@pytest.mark.parametrize(
    ("prompt", "space"),
    [("{text}:", " "), ("{text}: ", " "), ("{text}:\n", "\n"), ("{text}: \n", " \n")],
)
def test_white_space_goes_with_the_option(context: TaskContext, prompt: str, space: str) -> None:
    """One space, or what the prompt ends in."""
    scorer = Scorer()
    measured(choice.make({"prompt": prompt, "options": WORDS}, context), scorer)

    assert scorer.calls[-1][:2] == [TextRequest("joy one:", f"{space}{w}") for w in ("glad", "sad")]


def test_equal_requests_are_scored_once(context: TaskContext) -> None:
    """A text of several conditions is scored once per measurement."""
    same = replace(context, held_out={c: stimuli("x", "x", "y") for c in context.held_out})
    task, scorer = choice.make({"options": WORDS}, same), Scorer()
    result = values(task.measure(scorer))

    assert len(scorer.calls) == 1
    assert len(scorer.calls[0]) == len(set(scorer.calls[0])) == 4
    assert result["accuracy", "joy"] == [1, 1, 1]


@pytest.mark.parametrize(
    ("glad", "sad", "accuracy", "logprob"),
    [
        (-1.0, -1.0, 0, -1.0),
        (-1.0, -np.inf, 1, -1.0),
        (-np.inf, -np.inf, 0, -np.inf),
        (np.nan, -1.0, 0, -np.inf),
        (-1.0, np.nan, 0, -1.0),
        (np.nan, np.nan, 0, -np.inf),
    ],
)
def test_ties_and_broken_models_are_wrong(
    context: TaskContext, glad: float, sad: float, accuracy: float, logprob: float
) -> None:
    """Right is what is strictly the largest; nan is no probability at all."""
    scorer = Scorer(lambda request: {" glad": glad, " sad": sad}[request.completion])
    result = measured(choice.make({"options": WORDS}, context), scorer)

    assert result["accuracy", "joy"] == [accuracy] * 2
    assert result["logprob", "joy"] == [logprob] * 2


def test_options_of_one_probability_give_a_warning(
    context: TaskContext, caplog: pytest.LogCaptureFixture
) -> None:
    """A tokenizer that knows no option gives all the same probability: a warning explains 0 %."""
    task = choice.make({"options": WORDS}, context)
    with caplog.at_level(logging.WARNING):
        task.prepare(Scorer())
        assert caplog.text == ""
        task.prepare(Scorer(lambda _: -3.0))

    assert "the options glad, sad are equally probable after 'joy one'; if its token" in caplog.text


def test_option_without_a_token_is_refused(context: TaskContext) -> None:
    """What the tokenizer drops would have probability 1."""

    class Deaf(Scorer):
        def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
            return [TextScore(0.0, int("sad" not in r.completion), True) for r in requests]

    with pytest.raises(
        TaskError, match=r"^task 'choice': after 'joy one' the option 'sad' is no t"
    ):
        choice.make({"options": WORDS}, context).prepare(Deaf())


def test_guessing_is_right_once_per_number_of_options(context: TaskContext) -> None:
    """The verdict takes it for the level at which the ability is lost."""
    task = choice.make({"options": WORDS}, context)

    assert isinstance(task, HasChance)
    assert task.chance == {"accuracy": 1 / len(WORDS)}


def test_choice_needs_a_model_that_scores(context: TaskContext) -> None:
    """The message names the ability."""
    with pytest.raises(TaskError, match=r"task 'choice' needs .* ability ScoresText; toy has none"):
        choice.make({"options": WORDS}, context).prepare(ToyAdapter())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^task 'choice' has nothing to choose from; give .*\{options: \{CONDITION: WORD, "),
        ({"options": ["a", "b"]}, r"nothing to choose from; .* or --task choice=ITEMS\.jsonl$"),
        (
            {"options": {"joi": "glad", "grief": "sad"}},
            r"^task 'choice': there is no condition 'joi'; did you mean 'joy'\? there are: joy, g",
        ),
        (
            {"options": WORDS, "belief": {"file": "q.jsonl"}},
            r"has words for conditions of the contrast and items of its own, 'belief'; leave these",
        ),
    ],
)
def test_choice_options_that_are_wrong(
    context: TaskContext, options: dict[str, Any], message: str
) -> None:
    """Refused before a model is loaded."""
    with pytest.raises(TaskError, match=message):
        choice.make(options, context)


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"options": {"joy": "glad"}}, "options", "1 to choose from; give at least two"),
        ({"options": {"joy": "a", "grief": "a"}}, "options", "'a' is listed twice; options must d"),
        ({"options": {"joy": "a", "grief": " "}}, "options", "' ' is empty, or begins or ends wi"),
        ({"options": {"joy": "a", "grief": " b"}}, "options", "write the words alone, the space"),
        ({"options": {"joy": "a", "grief": 1}}, "options", "Input should be a valid string"),
        ({"options": ["a"], "q": {"texts": ["x"]}}, "options", "1 to choose from"),
        ({"options": [True, False], "q": {"texts": ["x"]}}, "options", "a valid string"),
        ({"options": "True", "q": {"texts": ["x"]}}, "options", "a valid tuple"),
        ({"prompt": "{", "options": WORDS}, "prompt", "character 1 is a single '{'"),
        ({"prompt": "so", "options": ["a", "b"], "q": {"texts": ["x"]}}, "prompt", "no column"),
        (
            {"prompt": "{tex}", "options": WORDS},
            "prompt",
            "have no column 'tex'; did you mean 'text'? use {text}",
        ),
        (
            {"prompt": "{text.__class__}", "options": WORDS},
            "prompt",
            "stimuli of the contrast have no column 'text.__class__'",
        ),
    ],
)
def test_choice_options_of_another_form(
    context: TaskContext, options: dict[str, Any], place: str, message: str
) -> None:
    """Pydantic's error has the place, to which the caller adds file and line."""
    with pytest.raises(ValidationError) as error:
        choice.make(options, context)

    assert error.value.errors()[0]["loc"][0] == place
    assert message in error.value.errors()[0]["msg"]


def test_choice_is_about_texts(context: TaskContext) -> None:
    """An image has no text to put into a prompt."""
    images = {c: [Stimulus("car/1.jpg", Path("car/1.jpg"))] for c in context.held_out}
    with pytest.raises(TaskError, match=r"asks about texts, and car/1\.jpg is an image; leave"):
        choice.make({"options": WORDS}, replace(context, held_out=images))


# choice, over items


def test_choice_over_items(context: TaskContext) -> None:
    """Each item fills the template with its columns; its answer is the right option."""
    rows = [
        {"story": "s1", "question": "q1", "answer": "glad"},
        {"story": "s2", "question": "q2", "answer": "sad"},
    ]
    options = {"prompt": "{story} Q: {question}\nA:", "options": ["sad", "glad"]}
    task = choice.make({**options, "belief": written(context, rows)}, context)
    result = measured(task, scorer := Scorer())

    assert result == {("accuracy", "belief"): [1, 0], ("logprob", "belief"): [-1, -2]}
    assert scorer.calls[-1][0] == TextRequest("s1 Q: q1\nA:", " sad")


def test_items_with_options_of_their_own(context: TaskContext) -> None:
    """A JSON list in each row, of any length; ``{text}`` is the prompt unless one is given."""
    rows = [
        {"text": "how?", "answer": "glad", "options": ["glad", "sad", "cross"]},
        {"text": "why?", "answer": "cross", "options": '["cross", "sad"]'},
    ]
    result = measured(choice.make({"q": written(context, rows)}, context), scorer := Scorer())

    assert result == {("accuracy", "q"): [1, 0], ("logprob", "q"): [-1, -3]}
    assert len(scorer.calls[-1]) == 5


ROW = {"text": "how?", "answer": "glad"}


@pytest.mark.parametrize(
    ("row", "more", "message"),
    [
        (ROW, {}, r"^q\.jsonl:1: no 'options'; every item of task 'choice' needs text and answer"),
        ({"text": "x"}, {"options": ["a", "b"]}, r"^q\.jsonl:1: no 'answer'; .* has text$"),
        (
            ROW,
            {"options": ["a", "b"], "prompt": "{text.__class__}"},
            r"^q\.jsonl:1: no 'text.__class__'; .*; this one has text, answer$",
        ),
        (
            {**ROW, "answer": True},
            {"options": ["True", "False"]},
            r"^q\.jsonl:1: the answer 'true' is none of the options; did you mean 'True'\? they "
            r"are: True, False$",
        ),
        ({**ROW, "options": "glad, sad"}, {}, r"^q\.jsonl:1: options are 'glad, sad'; they must"),
        (
            {**ROW, "options": [1, 2]},
            {},
            r"be a JSON list of texts, e\.g\. \[\"True\", \"False\"\]$",
        ),
        ({**ROW, "options": "[" * 5000}, {}, r"^q\.jsonl:1: options are '\[\[\[.*'; they must be"),
        ({**ROW, "options": ["glad"]}, {}, r"^q\.jsonl:1: options: 1 to choose from; give at"),
        ({**ROW, "options": ["glad", "glad"]}, {}, r"^q\.jsonl:1: options: 'glad' is listed twice"),
        ({**ROW, "options": ["glad", ""]}, {}, r"^q\.jsonl:1: options: '' is empty, or begins"),
    ],
)
def test_items_that_are_wrong(
    context: TaskContext, row: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    """The message names file and row."""
    with pytest.raises(TaskError, match=message):
        choice.make({"q": written(context, [row]), **more}, context)


@pytest.mark.parametrize("changed", ["prompt", "options", "order", "answer"])
def test_identity_of_choice_follows_its_questions(context: TaskContext, changed: str) -> None:
    """Everything that decides a number changes the identity."""

    def identity(*, prompt: str = "{text}?", answer: str = "glad", options: Any = ("a",)) -> Any:
        source = written(context, [{"text": "x", "answer": answer}])
        listed = ["glad", "sad", *options]
        return choice.make({"prompt": prompt, "options": listed, "q": source}, context).identity

    other: dict[str, Any] = {
        "prompt": {"prompt": "{text}!"},
        "options": {"options": ["b"]},
        "order": {"options": []},
        "answer": {"answer": "sad"},
    }[changed]

    assert identity() == identity()
    assert identity() != identity(**other)


# choice, on a transformer


@pytest.fixture(scope="module")
def gpt2() -> HFAdapter:
    return HFAdapter(model_of("gpt2"), tokenizer_of(bos=True), "tiny")


def by_hand(adapter: HFAdapter, prompt: str, option: str) -> float:
    """Return log P(option | prompt) from the logits of transformers, one text at a time."""
    before = adapter.tokenizer(prompt)["input_ids"]
    whole = adapter.tokenizer(prompt + " " + option)["input_ids"]
    assert whole[: len(before)] == before
    with torch.no_grad():
        logits = adapter.model(torch.tensor([whole])).logits[0].double()
    logprobs = logits.log_softmax(-1)
    return sum(float(logprobs[i - 1, whole[i]]) for i in range(len(before), len(whole)))


def test_logprobs_are_those_of_transformers(context: TaskContext, gpt2: HFAdapter) -> None:
    """Options of one token and of several, after prompts of several lengths, to 1e-5."""
    words = {"joy": "the dog sang", "grief": "a", "anger": "sister"}
    prompt = "{text} is {{what}}\nit means"
    result = measured(choice.make({"prompt": prompt, "options": words}, context), gpt2)

    for condition, word in words.items():
        prompts = [f"{condition} {n} is {{what}}\nit means" for n in ("one", "two")]
        table = np.array([[by_hand(gpt2, p, w) for w in words.values()] for p in prompts])
        right = list(words.values()).index(word)
        np.testing.assert_allclose(result["logprob", condition], table[:, right], atol=1e-5)
        assert result["accuracy", condition] == (table.argmax(axis=1) == right).tolist()


def test_options_start_at_one_token(context: TaskContext, gpt2: HFAdapter) -> None:
    """Of `` the`` and `` xenon`` only the first is joined to its space; both spaces are scored."""
    words = {"joy": "the", "grief": "xenon"}
    tokens = {word: gpt2.tokenizer.tokenize(f"so: {word}") for word in words.values()}
    tables = [
        measured(choice.make({"prompt": prompt, "options": words}, context), gpt2)
        for prompt in ("{text} so:", "{text} so: ")
    ]

    assert "Ġthe" in tokens["the"]
    assert "Ġ" in tokens["xenon"]
    assert tables[0] == tables[1]
    for condition, word in words.items():
        expected = by_hand(gpt2, f"{condition} one so:", word)
        assert tables[0]["logprob", condition][0] == pytest.approx(expected, abs=1e-5)


def test_options_of_one_token_share_a_forward_pass(gpt2: HFAdapter) -> None:
    """Three options after one prompt are one row, and score as they do alone."""
    requests = [TextRequest("the bird", f" {letter}") for letter in "xyz"]
    rows: list[int] = []
    hook = gpt2.model.register_forward_pre_hook(
        lambda _module, _args, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    with_others = gpt2.score([*requests, TextRequest("a", " dog sang"), requests[1]])
    hook.remove()
    alone = [gpt2.score([request])[0] for request in requests]

    assert sum(rows) == 2
    assert with_others[1] == with_others[4]
    for together, one in zip(with_others[:3], alone, strict=True):
        assert together.logprob == pytest.approx(one.logprob, abs=1e-5)
        assert (together.n_tokens, together.greedy) == (one.n_tokens, one.greedy)


# text-probe


class Sited(ToyAdapter):
    """The toy model with other sites; ``calls`` are what was read: stimuli, layout, read-out."""

    def __init__(self, *sites: Site) -> None:
        super().__init__()
        self.sites = Layout(sites or ToyAdapter.sites.sites)
        self.calls: list[tuple[list[Stimulus], Layout, Readout]] = []

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        self.calls.append((list(stimuli), layout, readout))
        block = Layout(ToyAdapter.sites.sites[-1:])
        yield from reversed(list(ToyAdapter().activations(stimuli, block, readout)))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["block", "mlp-neurons", "block"], "s2"),
        (["block", "block", "mlp-neurons"], "s1"),
        (["conv", "attention"], "s1"),
    ],
)
def test_probe_reads_the_last_block(context: TaskContext, kinds: list[str], expected: str) -> None:
    """Or, where there is no site of that kind, the last site; nothing else is read."""
    adapter = Sited(*(Site(f"s{i}", kind, 26) for i, kind in enumerate(kinds)))
    measured(text_probe.make({}, context), adapter)

    assert {site.name for _, layout, _ in adapter.calls for site in layout.sites} == {expected}


def test_probe_reads_as_the_contrast_does(context: TaskContext) -> None:
    """The halves in turn, each once per pass, with the contrast's own read-out."""
    read = Readout(pool="mean", tokens="all", max_tokens=9)
    task, adapter = (
        text_probe.make({"conditions": ["joy", "anger"]}, replace(context, read=read)),
        Sited(),
    )
    measured(task, adapter)
    training, testing = (
        [*half["joy"], *half["anger"]] for half in (context.localizing, context.held_out)
    )

    assert [(read_stimuli, how) for read_stimuli, _, how in adapter.calls] == [
        (training, read),
        (testing, read),
    ]


def test_identity_of_the_probe_follows_the_read_out(context: TaskContext) -> None:
    """Pool, tokens and max_tokens decide what is read; the sites and the response do not."""

    def identity(**read: Any) -> Any:
        return text_probe.make({}, replace(context, read=Readout(**read))).identity

    assert identity() == identity(sites=("mlp-neurons",), response="abs", pool="last")
    for other in ({"pool": "mean"}, {"tokens": "all"}, {"max_tokens": 3}):
        assert identity() != identity(**other)


def test_identity_of_the_probe_follows_both_halves(context: TaskContext) -> None:
    """Another text to train on, or to test on, is another task."""
    before = text_probe.make({}, context).identity
    for half in ("localizing", "held_out"):
        changed = {**getattr(context, half), "joy": stimuli("other", "texts")}
        assert text_probe.make({}, replace(context, **{half: changed})).identity != before


def test_units_of_the_last_site_are_read_after_ablation(context: TaskContext) -> None:
    """Where every letter count of the block is silenced, all texts are one class."""
    task, toy = text_probe.make({}, context), ToyAdapter()
    intact = measured(task, toy)
    block = ToyAdapter.sites.of_kind("block")
    with toy.ablated(Ablation(UnitMask(ToyAdapter.sites, block))):
        silenced = values(task.measure(toy))

    assert intact == {("accuracy", c): [1.0, 1.0] for c in context.held_out}
    assert sorted(silenced.values()) == [[0, 0], [0, 0], [1, 1]]


def test_probe_without_halves(context: TaskContext) -> None:
    """With ``split: none`` one half trains, the other tests, and only these are read."""
    whole = {c: stimuli(*(f"{c} {n}" for n in "abcde")) for c in context.held_out}
    task = text_probe.make({}, replace(context, held_out=whole, localizing=whole))
    adapter = Sited()
    measured(task, adapter)
    (training, _, _), (testing, _, _) = adapter.calls

    assert (len(training), len(testing)) == (9, 6)
    assert {s.content for s in training} | {s.content for s in testing} == {
        s.content for group in whole.values() for s in group
    }


def test_probe_that_cannot_be_made(context: TaskContext) -> None:
    """The errors that every probe has, with the name of this one."""
    with pytest.raises(TaskError, match=r"^task 'text-probe' needs at least two conditions to dis"):
        text_probe.make({"conditions": "joy"}, context)
    with pytest.raises(TaskError, match=r"^task 'text-probe': there is no condition 'jo'; did you"):
        text_probe.make({"conditions": ["jo", "anger"]}, context)
    with pytest.raises(TaskError, match=r"^task 'text-probe' was not prepared; call prepare\(\)"):
        text_probe.make({}, context).measure(ToyAdapter())
    same = {c: stimuli("x", "x") for c in context.held_out}
    with pytest.raises(TaskError, match=r"^task 'text-probe': a half of condition 'joy' is empty"):
        text_probe.make({}, replace(context, held_out=same, localizing=same))


def states(adapter: HFAdapter, texts: Sequence[Stimulus], silenced: slice) -> np.ndarray:
    """Return the last block's output at the last token, some MLP neurons of block 0 at zero."""

    def silence(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        (x,) = args
        kept = x.clone()
        kept[..., silenced] = 0
        return (kept,)

    rows: list[np.ndarray] = []
    blocks = adapter.model.transformer.h
    hooks = [
        blocks[0].mlp.c_proj.register_forward_pre_hook(silence),
        blocks[-1].register_forward_hook(
            lambda _m, _a, out: rows.append((out[0] if isinstance(out, tuple) else out)[0, -1])
        ),
    ]
    with torch.no_grad():
        for text in texts:
            adapter.model(torch.tensor([adapter.tokenizer(str(text.content))["input_ids"]]))
    for hook in hooks:
        hook.remove()
    return np.stack([x.numpy() for x in rows]).astype(np.float64)


def test_probe_against_scipy_on_transformers_states(context: TaskContext, gpt2: HFAdapter) -> None:
    """Hidden states of transformers, the documented loss minimised: same predictions."""
    rng = np.random.default_rng(1)
    words = np.array(["the", "dog", "sang", "near", "red", "barn", "letter", "house"])

    def texts(n: int) -> dict[str, list[Stimulus]]:
        return {c: stimuli(*(" ".join(rng.permutation(words)[:4]) for _ in range(n))) for c in "ab"}

    task = text_probe.make({}, replace(context, held_out=texts(12), localizing=texts(8)))
    task.prepare(gpt2)
    site = gpt2.sites.slices["transformer.h.0.mlp.c_proj:input"]
    selected = np.zeros(gpt2.sites.n_units, dtype=bool)
    selected[site.start : site.start + 40] = True
    mask = UnitMask(gpt2.sites, selected)
    with gpt2.ablated(Ablation(mask)):
        ablated = values(task.measure(gpt2))
    intact = values(task.measure(gpt2))

    train, test = task._probe.training.groups(), task._probe.testing.groups()
    x = states(gpt2, [s for c in "ab" for s in train[c]], slice(0, 0))
    labels = np.repeat([0, 1], 8)
    start = np.zeros((x.shape[1] + 1) * 2)
    weights = minimize(naive_loss, start, (x, labels, 2), tol=1e-9).x
    matrix, intercept = weights[:-2].reshape(-1, 2), weights[-2:]
    for result, silenced in ((intact, slice(0, 0)), (ablated, slice(0, 40))):
        for number, condition in enumerate("ab"):
            z = (states(gpt2, test[condition], silenced) - x.mean(0)) / x.std(0)
            predicted = (z @ matrix + intercept).argmax(axis=1)
            assert result["accuracy", condition] == (predicted == number).tolist()
    assert intact != ablated


# in a run; the two tasks come in by their entry points

TASKS = """\
evaluate:
  - choice:
      prompt: "{text}"
      options: {sentences: the, lists: dax}
  - text-probe
"""


@pytest.fixture
def both(contrast_file: Path) -> Path:
    """Return the contrast of the tests with the two tasks in place of its own."""
    head, _, _ = contrast_file.read_text().partition("evaluate:\n")
    contrast_file.write_text(head + TASKS)
    return contrast_file


def scores(folder: Path, task: str) -> list[str]:
    lines = (folder / "scores.csv").read_text().splitlines()
    return [line for line in lines if line.startswith(f"{task},")]


def test_resumed_run_measures_what_changed(
    both: Path, tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another prompt or word is measured anew, the probe's scores stay; the same is not."""
    calls: list[str] = []
    for task, method in (
        (choice.Choice, "measure_scores"),
        (text_probe.TextProbe, "measure_activations"),
    ):
        plain = getattr(task, method)

        def counted(self: Any, measured: Any, plain: Any = plain) -> list[Measurement]:
            calls.append(self.name)
            return plain(self, measured)

        monkeypatch.setattr(task, method, counted)

    def run(*changes: str) -> tuple[list[str], set[str]]:
        calls.clear()
        run_all(load(both, changes), Setup(f"hf:{tiny_lm}"), tmp_path / "run")
        return scores(tmp_path / "run", "choice"), set(calls)

    first, at_first = run()
    again, at_second = run()
    prompted, at_third = run('evaluate.0.choice.prompt="cat {text}"')
    _, at_fourth = run("evaluate.0.choice.options={sentences: dog, lists: dax}")

    assert at_first == {"choice", "text-probe"}
    assert (again, at_second) == (first, set())
    assert at_third == at_fourth == {"choice"}
    assert prompted != first
    assert len(prompted) == len(first)


def test_errors_of_tasks_name_file_and_line(both: Path) -> None:
    """Whether pydantic raises them or the task."""
    contrast, setup = load(both), Setup("reference:lm")

    def message_of(*changes: str) -> str:
        contrast: Contrast = load(both, changes)
        with pytest.raises(ContrastError) as error:
            make_tasks(contrast, sampled_stimuli(contrast, setup).halves, limit=setup.limit)
        return str(error.value)

    assert (
        len(make_tasks(contrast, sampled_stimuli(contrast, setup).halves, limit=setup.limit)) == 2
    )
    assert message_of("evaluate=[perplexty]").startswith(
        "--set evaluate=[perplexty]: no plugin named 'perplexty' in deeploc.tasks; "
        "did you mean 'perplexity'? installed: "
    )
    both.write_text(both.read_text().replace("lists: dax}", "list: dax}"))
    assert message_of() == (
        "words.yaml:13: task 'choice': there is no condition 'list'; did you mean 'lists'? "
        "there are: sentences, lists"
    ).replace("words.yaml", str(both))
    both.write_text(both.read_text().replace("list: dax}", "lists: the}"))
    assert (
        message_of()
        == f"{both}:15: evaluate.0.choice.options: 'the' is listed twice; options must differ"
    )


def test_reference_lm_separates_sentences_from_nonwords() -> None:
    """Intact it does so in 98 % of cases; without the output of its last block it cannot."""
    limits = [f"conditions.{name}.limit=60" for name in ("sentences", "nonwords")]
    contrast = load("language", ["evaluate=[text-probe]", *limits])
    setup = Setup("reference:lm")
    (task,) = make_tasks(contrast, sampled_stimuli(contrast, setup).halves, limit=setup.limit)
    adapter = load_model("reference:lm")
    intact = measured(task, adapter)
    last = np.zeros(adapter.sites.n_units, dtype=bool)
    last[adapter.sites.slices[[s for s in adapter.sites.sites if s.kind == "block"][-1].name]] = (
        True
    )
    with adapter.ablated(Ablation(UnitMask(adapter.sites, last))):
        ablated = values(task.measure(adapter))

    assert {condition for _, condition in intact} == {"sentences", "nonwords"}
    assert np.mean(list(intact.values())) >= 0.98
    assert np.mean(list(ablated.values())) == 0.5
