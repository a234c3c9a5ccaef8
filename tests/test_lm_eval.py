"""Tasks of lm-evaluation-harness, against its own model and its own evaluation."""

import copy
import json
import logging
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import T5Config, T5ForConditionalGeneration

from deeploc.adapters._text.choose import text_adapter
from deeploc.adapters._text.tokenize import tokens_hash
from deeploc.adapters._torch.identity import weights_hash
from deeploc.analysis.tasks import make_tasks
from deeploc.cli import main
from deeploc.contrast.model import load
from deeploc.core import harness
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter, ModelOptions, Sampling, TextRequest, TextScore
from deeploc.core.results import Measurement
from deeploc.core.task import TaskContext, check_needs
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError, ContrastError, TaskError
from deeploc.experiment import run_all
from deeploc.plugins import load_model
from deeploc.runs.folder import RunFolder
from deeploc.runs.setup import Setup
from deeploc.tasks import lm_eval as task
from deeploc.tasks._harness_load import load_tasks
from deeploc.testing import ToyAdapter

from . import harness_tasks as own
from .adapters.conftest import model_of, tokenizer_of
from .adapters.test_position_edits import modes_of
from .conftest import write_contrast


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a task file of every kind of question, its items beside it."""
    place = tmp_path_factory.mktemp("tasks")
    for name, config in own.TASKS.items():
        own.write(place, name, config)
    return place


@pytest.fixture(scope="module")
def adapter(tiny_lm: Path) -> Adapter:
    return load_model(f"hf:{tiny_lm}", ModelOptions())


@pytest.fixture(autouse=True)
def _nothing_trusted() -> Iterator[None]:
    token = harness._trusted.set(())
    yield
    harness._trusted.reset(token)


def made(folder: Path, *names: str, limit: int | None = None, **options: Any) -> task.LmEval:
    """Return the task over tasks of a folder, as a contrast beside it would name it."""
    named = {"tasks": list(names or own.TASKS), "include_path": ".", **options}
    return task.make(named, TaskContext({}, [], folder, limit=limit))


def by_itself(adapter: Any, folder: Path, *names: str, **options: Any) -> dict[str, Any]:
    """Return what ``lm_eval.simple_evaluate`` says of an unhooked model."""
    model = HFLM(pretrained=adapter.model, tokenizer=copy.deepcopy(adapter.tokenizer), batch_size=1)
    tasks = list(names or own.TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the harness looks for data files
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        results = lm_eval.simple_evaluate(
            model, tasks=tasks, task_manager=manager, bootstrap_iters=0, **options
        )
    assert results is not None
    return dict(results)


def value(measured: Measurement) -> float:
    ratio = measured.amount.sum() / measured.weight.sum()
    return float(np.exp(ratio) if measured.exponential else ratio)


def check_equal(measured: Sequence[Measurement], expected: Mapping[str, Any]) -> None:
    """Compare every metric, and every item of those that the harness averages, with its own."""
    for each in measured:
        metric, _, kept = each.metric.partition(",")
        own_value = expected["results"][each.condition][f"{metric},{kept or 'none'}"]
        assert value(each) == pytest.approx(own_value, rel=1e-5, abs=1e-12)
        samples = [
            s for s in expected["samples"][each.condition] if s["filter"] == (kept or "none")
        ]
        assert len(samples) == len(each.amount)
        if metric.startswith(("acc", "exact")):
            assert each.amount.tolist() == [float(sample[metric]) for sample in samples]


def amounts(measured: Sequence[Measurement]) -> dict[tuple[str, str], list[float]]:
    return {(m.metric, m.condition): m.amount.tolist() for m in measured}


@pytest.mark.parametrize("address", ["tiny", "reference:lm"])
def test_an_intact_model_has_the_numbers_of_the_harness(
    address: str, adapter: Adapter, folder: Path
) -> None:
    """Choice, cloze, rolling windows, text that is written and text that is sampled."""
    model = adapter if address == "tiny" else load_model(address, ModelOptions())

    measured = made(folder).measure(model)

    check_equal(measured, by_itself(model, folder))
    assert {m.condition for m in measured} == set(own.TASKS)
    assert len(amounts(measured)) == 11  # every metric of every task


def t5() -> Any:
    """Return a tiny random encoder-decoder."""
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    ids = {"vocab_size": 330, "pad_token_id": 2, "eos_token_id": 1, "decoder_start_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(T5Config(**size, **ids))
        with torch.no_grad():
            model.shared.weight.mul_(0.2)
    return model.eval()


OTHERS = {
    "bos": lambda: text_adapter(model_of("llama"), tokenizer_of(bos=True), "tiny"),
    "eos": lambda: text_adapter(model_of("opt"), tokenizer_of(bos=True, eos=True), "tiny"),
    "window": lambda: text_adapter(model_of("mistral"), tokenizer_of(pad=True), "tiny"),
    "encoder": lambda: text_adapter(t5(), tokenizer_of(eos=True, pad=True), "tiny"),
}
"""Models whose tokenizers add special tokens, one that attends to 8 tokens, one with two halves."""


@pytest.mark.parametrize("kind", OTHERS)
def test_tokens_and_truncation_are_those_of_the_harness(kind: str, folder: Path) -> None:
    """Special tokens before and after a text, a context that texts do not fit into, two halves."""
    adapter: Any = OTHERS[kind]()

    check_equal(made(folder, limit=5).measure(adapter), by_itself(adapter, folder, limit=5))


def test_what_the_harness_is_told_is_what_its_own_model_says(adapter: Any, folder: Path) -> None:
    """Log-probabilities and new texts are compared themselves, not only what is right."""
    cloze, writing = load_tasks(["own_cloze", "own_writing"], [folder]).values()
    expected = by_itself(adapter, folder, "own_cloze", "own_writing")["samples"]
    asked = {name: [s["arguments"][0] for s in expected[name] if s["filter"] in ("none", "first")]
             for name in expected}  # fmt: skip

    scores = adapter.harness_answers("loglikelihood", asked["own_cloze"])
    texts = adapter.harness_answers("generate_until", asked["own_writing"])

    own_scores = [s["resps"][0][0] for s in expected["own_cloze"]]
    assert [s[0] for s in scores] == pytest.approx([float(s[0]) for s in own_scores], rel=1e-5)
    assert [s[1] for s in scores] == [bool(s[1]) for s in own_scores]
    first = [s for s in expected["own_writing"] if s["filter"] == "first"]
    assert texts == [s["resps"][0][0] for s in first]
    assert len({len(text.split()) for text in texts}) > 1  # some were stopped
    assert set(cloze) == {"own_cloze"}
    assert set(writing) == {"own_writing"}


def test_examples_and_a_limit_are_those_of_the_harness(adapter: Adapter, folder: Path) -> None:
    """The first items, with the examples that the harness draws by its own seed."""
    options = {"limit": 5, "num_fewshot": 2}

    measured = made(folder, "own_choice", "own_cloze", **options).measure(adapter)

    check_equal(measured, by_itself(adapter, folder, "own_choice", "own_cloze", **options))
    assert all(len(m.amount) == 5 for m in measured)


def test_the_smallest_limit_counts_and_a_task_may_have_its_own(
    folder: Path, adapter: Adapter
) -> None:
    """That of the run, of all tasks, and of one."""
    tasks = [{"own_choice": {"limit": 3}}, "own_cloze"]
    context = TaskContext({}, [], folder, limit=7)

    asked = task.make({"tasks": tasks, "include_path": ".", "limit": 9}, context)
    measured = asked.measure(adapter)

    assert {m.condition: len(m.amount) for m in measured} == {"own_choice": 3, "own_cloze": 7}


def lesion(adapter: Any, share: float = 0.3) -> UnitMask:
    """Return some units at every site."""
    chosen = np.random.default_rng(0).random(adapter.sites.n_units) < share
    return UnitMask(adapter.sites, chosen)


def test_an_empty_lesion_changes_nothing(adapter: Any, folder: Path) -> None:
    """Not one bit of any item."""
    asked = made(folder)
    intact = asked.measure(adapter)

    with adapter.ablated(Ablation(lesion(adapter, share=0))):
        empty = asked.measure(adapter)

    assert amounts(empty) == amounts(intact)


def test_under_a_lesion_the_numbers_are_those_of_the_harness(adapter: Any, folder: Path) -> None:
    """As the harness's own model has them that is asked while the same hooks are in place."""
    asked = made(folder, limit=6)
    intact = asked.measure(adapter)

    with adapter.ablated(Ablation(lesion(adapter))):
        ablated, expected = asked.measure(adapter), by_itself(adapter, folder, limit=6)

    check_equal(ablated, expected)
    assert amounts(ablated) != amounts(intact)
    assert amounts(asked.measure(adapter)) == amounts(intact)


@pytest.mark.parametrize(
    ("kind", "mode"), [("bos", "mean"), ("bos", "resample"), ("encoder", "resample")]
)
def test_edits_that_depend_on_stimulus_and_position_do_not_depend_on_the_batch(
    kind: str, mode: str
) -> None:
    """All at once and in any order, as deeploc scores and writes one by one without a cache."""
    adapter: Any = OTHERS[kind]()
    edit = modes_of(adapter).edit(mode, lesion(adapter))
    prompts = ["the dog sees the", "a bird", "old cats", "the small house stands near a", "a"]
    pairs = [(prompt, f" {word}") for prompt in prompts for word in ("dog", "a longer cat")]
    # of an encoder-decoder the harness counts the prompt, and the start of the decoder, too
    more = [len(adapter.tokenizer(p)["input_ids"]) - 1 if kind == "encoder" else 0 for p in prompts]

    with adapter.ablated(edit):
        scores = adapter.harness_answers("loglikelihood", pairs)
        written = adapter.harness_answers(
            "generate_until", [(p, {"until": [], "max_gen_toks": 5}) for p in prompts]
        )
        alone = [adapter.score([TextRequest(*pair)])[0].logprob for pair in pairs]
        texts = [adapter.generate(p, Sampling(5 + n)) for p, n in zip(prompts, more, strict=True)]

    assert [score[0] for score in scores] == pytest.approx(alone, rel=1e-4)
    assert written == texts


def test_the_model_and_its_tokenizer_stay_as_they_are(tiny_lm: Path, folder: Path) -> None:
    """The harness sets a padding token and the evaluation mode, of its own model for good."""
    adapter: Any = load_model(f"hf:{tiny_lm}", ModelOptions())
    adapter.model.train()
    before = weights_hash(adapter.model), tokens_hash(adapter.tokenizer)

    made(folder, limit=2).measure(adapter)

    assert (weights_hash(adapter.model), tokens_hash(adapter.tokenizer)) == before
    assert adapter.tokenizer.pad_token is None
    assert all(module.training for module in adapter.model.modules())


class Writer(ToyAdapter):
    """A model that is none of transformers: a word costs its length, and it writes one text."""

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        return [TextScore(-float(len(r.completion)), 1, "cat" in r.completion) for r in requests]

    def generate(self, prompt: str, sampling: Sampling) -> str:
        return f" bird wug {prompt} {sampling.max_tokens}"


def test_a_model_of_a_plugin_answers_by_what_it_scores_and_writes(folder: Path) -> None:
    """The shorter option is right; a text ends before the first stop sequence."""
    measured = amounts(made(folder, "own_choice", "own_cloze", "own_writing").measure(Writer()))

    rows = own.items()
    shorter = [float(len(row["good"]) <= len(row["bad"])) for row in rows]
    assert measured["acc", "own_choice"] == shorter
    assert measured["perplexity", "own_cloze"] == [len(row["good"]) + 1 for row in rows]
    assert measured["acc", "own_cloze"] == [float("cat" in row["good"]) for row in rows]
    assert measured["exact_match,last", "own_writing"] == [float(r["good"] == "bird") for r in rows]


def test_a_model_that_cannot_write_is_refused(folder: Path) -> None:
    """Before any forward pass, by the abilities that the questions need."""
    with pytest.raises(TaskError, match="'lm-eval' needs a model with the ability ScoresText"):
        check_needs(ToyAdapter(), [made(folder, "own_choice")])


def test_guessing_is_a_share_of_the_options_of_each_task(folder: Path) -> None:
    """Conditions differ in it: a verdict asks whether a model is above guessing there."""
    own.write(folder, "three", {**own.CHOICE, "doc_to_choice": "{{[good, bad, start]}}"})

    chance = made(folder, "own_choice", "three").chance

    assert chance == {
        f"{metric}/{name}": pytest.approx(1 / n)
        for name, n in (("own_choice", 2), ("three", 3))
        for metric in ("acc", "acc_norm")
    }


def test_metrics_that_are_no_mean_over_items_are_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture, adapter: Adapter
) -> None:
    """With a notice that names them; alone they are refused."""
    metrics = [{"metric": "f1"}, {"metric": "acc"}]
    own.write(folder, "mixed", {**own.CHOICE, "metric_list": metrics})
    own.write(folder, "only", {**own.CHOICE, "metric_list": metrics[:1]})

    with caplog.at_level(logging.WARNING):
        asked = made(folder, "mixed")

    assert [m.metric for m in asked.measure(adapter)] == ["acc"]
    assert "of mixed is left out: f1" in caplog.text
    with pytest.raises(TaskError, match="no metric of only is a mean over items"):
        made(folder, "only")


def test_tasks_that_disagree_on_what_is_better_are_refused(folder: Path) -> None:
    """One metric has one direction in a run."""
    upside = {"metric_list": [{"metric": "acc", "higher_is_better": False}]}
    own.write(folder, "upside", {**own.CHOICE, **upside})

    with pytest.raises(TaskError, match="more acc is better in one task and worse in 'upside'"):
        made(folder, "own_choice", "upside")


@pytest.mark.slow
def test_a_group_is_its_members_and_a_star_is_any_text(folder: Path, adapter: Adapter) -> None:
    """Every member is a condition."""
    (folder / "both.yaml").write_text("group: own_both\ntask: [own_choice, own_cloze]\n")

    for names in (["own_both"], ["own_c*"], ["own_both", "own_choice"]):
        measured = made(folder, *names, limit=2).measure(adapter)
        assert {m.condition for m in measured} == {"own_choice", "own_cloze"}


def test_of_a_task_that_several_name_the_first_counts(folder: Path, adapter: Adapter) -> None:
    """A task that is named alone and by a star is measured once, with the options named first."""
    named = made(folder, *({"own_choice": {"limit": 5}}, "own_c*"))  # type: ignore[arg-type]
    alone = made(folder, "own_choice", limit=5)
    measured = [each for each in named.measure(adapter) if each.condition == "own_choice"]

    assert amounts(measured) == amounts(alone.measure(adapter))


@pytest.mark.slow
def test_the_harness_s_own_tasks_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name has near ones; without a network one line says what to do, at once."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    context = TaskContext({}, [], tmp_path)

    with pytest.raises(TaskError, match=r"no task 'helaswag'; did you mean 'hellaswag'\?"):
        task.make({"tasks": "helaswag"}, context)
    with pytest.raises(
        TaskError, match=r"'blimp_adjunct_island' cannot be loaded.*offline"
    ) as told:
        task.make({"tasks": "blimp_adjunct_island"}, context)
    with pytest.raises(TaskError, match="'humaneval' runs code that the model writes"):
        task.make({"tasks": ["humaneval"]}, context)
    assert "\n" not in str(told.value)


HOSTILE = {
    "function": (
        "doc_to_text: !function code.text\n",
        r"!function code.text .line \d. names Python",
    ),
    "class": ("class: code.Task\n", "class: code.Task names Python code"),
    "pickle": ("dataset_path: pandas\n", "dataset_path: pandas reads files that may hold code"),
    "metric": ("metric_list: [{metric: ./code.py}]\n", "'./code.py' is none of the harness's own"),
    "evaluate": ("metric_list: [{metric: acc, hf_evaluate: true}]\n", "metric 'acc' is none"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("place", ["itself", "included", "member", "within"])
def test_a_contrast_file_runs_no_code(tmp_path: Path, kind: str, place: str) -> None:
    """A file that could is refused, wherever it is reached from, before anything of it runs."""
    lines, why = HOSTILE[kind]
    (tmp_path / "code.py").write_text("open('ran', 'w')")
    path = own.write(tmp_path, "plain", own.CHOICE)
    name, text = "plain", path.read_text()
    if place == "included":
        (tmp_path / "more").write_text(lines)
        path.write_text(f"include: more\n{text}")
    elif place == "within":
        group = f"group: many\ntask:\n  - task: inner\n    {lines}"
        (tmp_path / "group.yaml").write_text(group)
        name = "many"
    else:
        key = lines.partition(":")[0]
        config = {k: v for k, v in yaml.safe_load(text).items() if k != key}
        path.write_text(lines + yaml.safe_dump(config))
    if place == "member":
        (tmp_path / "group.yaml").write_text("group: many\ntask: [{task: plain}]\n")
        name = "many"

    with pytest.raises(TaskError, match=f"{why}.*--include-path {tmp_path}"):
        made(tmp_path, name)
    assert not (tmp_path / "ran").exists()


def test_templates_run_no_code(tmp_path: Path) -> None:
    """What a template of Jinja could reach from a text is closed."""
    hostile = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    own.write(tmp_path, "plain", {**own.CHOICE, "doc_to_text": hostile})

    with pytest.raises(TaskError, match="'plain' cannot be loaded: SecurityError"):
        made(tmp_path, "plain")


def test_a_folder_that_the_user_names_may_hold_functions(tmp_path: Path) -> None:
    """As ``deeploc lm-eval --include-path`` does; what they do is part of the identity."""
    path = own.write(tmp_path, "plain", own.CHOICE)
    text = "".join(line for line in path.read_text().splitlines(keepends=True)
                   if not line.startswith("doc_to_text"))  # fmt: skip
    path.write_text(f"doc_to_text: !function code.text\n{text}")
    (tmp_path / "code.py").write_text("def text(doc):\n    return doc['start']\n")
    harness.trust(tmp_path)

    functions = made(tmp_path, "plain").identity["tasks"]["plain"]
    path.write_text(f"doc_to_text: start\n{text}")
    columns = made(tmp_path, "plain").identity["tasks"]["plain"]

    assert functions["items"] == columns["items"]
    assert functions["config"] != columns["config"]


def test_the_identity_is_that_of_what_is_asked(tmp_path: Path) -> None:
    """Not of where files are; another item, option or version is another task."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    own.write(first, "plain", own.CHOICE)
    own.write(second, "plain", own.CHOICE)
    identity = made(first, "plain").identity
    assert json.dumps(made(second, "plain").identity) == json.dumps(identity)

    changed = [{**row, "bad": "red"} for row in own.items()]
    for config, rows in (
        (own.CHOICE, changed),
        ({**own.CHOICE, "metadata": {"version": 2.0}}, None),
        ({**own.CHOICE, "target_delimiter": "  "}, None),
    ):
        own.write(second, "plain", config, rows)
        assert made(second, "plain").identity != identity
    assert identity["lm_eval"] == version("lm_eval")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "names no task of lm-evaluation-harness; write"),
        ({"tasks": "own_choice", "include_path": "nowhere"}, "there is no folder .*nowhere"),
        ({"tasks": "own_long", "include_path": "."}, "asks for 64 new tokens.*context is 64"),
        ({"tasks": "own_empty", "include_path": "."}, "is no token of this model"),
    ],
)
def test_mistakes_are_told_in_one_line(
    options: dict[str, Any], message: str, folder: Path, adapter: Adapter
) -> None:
    """What is wrong, and what would be right."""
    long = {"generation_kwargs": {"until": [], "max_gen_toks": 64}}
    own.write(folder, "own_long", {**own.WRITING, **long})
    own.write(folder, "own_empty", {**own.CLOZE, "doc_to_target": " "})

    with pytest.raises((TaskError, AdapterError), match=message) as told:
        task.make(options, TaskContext({}, [], folder)).measure(adapter)
    assert "\n" not in str(told.value)


def test_without_the_extra_one_line_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness is optional."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(TaskError, match=r"pip install 'deeploc\[lm-eval\]'"):
        made(folder, "own_choice")


def test_a_run_has_them_under_every_control_and_more_can_be_added(
    folder: Path, tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a contrast file, then from the command line, which keeps what was measured before."""
    tasks = [{"lm-eval": {"tasks": ["own_choice"], "limit": 6, "include_path": str(folder)}}]
    changes = (f"evaluate={json.dumps(tasks)}", "verdict.primary=lm-eval/acc/own_choice",
               "verdict.untrained=false", "read.sites=block", "ablate.mode=zero")  # fmt: skip
    path, place = write_contrast(tmp_path), tmp_path / "run"
    run_all(load(path, changes), Setup(f"hf:{tiny_lm}", ModelOptions()), place)

    def measured() -> dict[tuple[str, str], set[int]]:
        found: dict[tuple[str, str], set[int]] = {}
        for row in RunFolder(place).read_scores():
            found.setdefault((row.mask, row.condition), set()).add(row.n)
        return found

    masks = {"none", "top", "bottom", *(f"random-{i}" for i in range(3))}
    assert measured() == {(mask, "own_choice"): {6} for mask in masks}

    monkeypatch.chdir(folder.parent)
    more = ["--tasks", "own_cloze,own_rolling", "--limit", "4", "--include-path", folder.name]
    result = CliRunner().invoke(main, ["lm-eval", str(place), *more, "-q"])

    assert result.exit_code == 0, result.output
    counts = {"own_choice": {6}, "own_cloze": {4}, "own_rolling": {4}}
    assert measured() == {(mask, c): n for mask in masks for c, n in counts.items()}
    assert "lm-eval acc (own_choice)" in result.output


def test_a_contrast_file_is_told_its_line(folder: Path, tmp_path: Path) -> None:
    """As of every other task."""
    path = write_contrast(tmp_path)
    text = path.read_text().partition("evaluate:")[0]
    path.write_text(f"{text}evaluate:\n  - lm-eval: {{tasks: own_chois, include_path: {folder}}}\n")

    with pytest.raises(ContrastError, match=r"words\.yaml:13: .*did you mean 'own_choice'"):
        contrast = load(path)
        make_tasks(contrast, ({}, {}))


PAGE = (Path(__file__).parents[1] / "docs" / "lm-eval.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(\S+\.(?:yaml|jsonl))`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
QUICK = {
    "run": (*("--limit", "6", "--percent", "10", "--controls", "1", "-q"),
            *("--set", "verdict.untrained=false", "--set", "verdict.controls=1")),
    "lm-eval": ("--percent", "10", "--controls", "1", "-q"),
}  # fmt: skip


@pytest.mark.slow
def test_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files and its commands, in the order of the page."""
    (tmp_path / "tasks").mkdir()
    for name, body in FILES.items():
        (tmp_path / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    (console,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)

    for line in console.splitlines():
        words = shlex.split(line)[1:]
        result = CliRunner().invoke(main, [*words, *QUICK[words[0]]])
        assert result.exit_code == 0, result.output
    scores = RunFolder(tmp_path / "runs" / "grammar").read_scores()
    assert {(row.metric, row.condition, row.n) for row in scores} == {
        ("acc", "agreement", 4),
        ("word_perplexity", "text", 3),
    }
