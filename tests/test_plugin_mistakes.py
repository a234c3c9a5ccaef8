"""What is wrong with a plugin is one line: the plugin, its file, what it did, what is right."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import deeploc
from deeploc import entry_points
from deeploc.analysis.localization import localize
from deeploc.cli import main
from deeploc.contrast.model import Contrast
from deeploc.core.controls import Compared, MaskLabel, control_mask
from deeploc.core.measuring import score_once
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import DeeplocError, PluginError
from deeploc.generators.registry import generate
from deeploc.plugins import _listed, load_model, using
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

from .conftest import stat_map_of

TEXTS = {"a": ["aa", "abc", "a b a"], "b": ["bb", "cd b", "b c b"]}
STIMULI = {name: [Stimulus(f"{name}{i}", t) for i, t in enumerate(TEXTS[name])] for name in TEXTS}


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "no-config.yaml").write_text("")
    monkeypatch.setenv("DEEPLOC_CONFIG", str(tmp_path / "no-config.yaml"))
    monkeypatch.chdir(tmp_path)
    with entry_points.without_files():
        yield


def contrast_of(**more: object) -> Contrast:
    """Return a contrast of two conditions of texts."""
    words = {"name": "n", "title": "t", "modality": "text", "source": "s", "contrast": "a > b"}
    conditions = {name: {"texts": TEXTS[name]} for name in TEXTS}
    read = {"sites": "block", "pool": "mean"}
    return Contrast.model_validate({**words, "conditions": conditions, "read": read, **more})


def written(folder: Path, group: str, code: str) -> Path:
    """Return a file that declares one plugin, `x`, which is `f` of the code."""
    file = folder / "mine.py"
    head = "import numpy as np\nfrom deeploc.testing import ToyAdapter\n"
    file.write_text(f"{head}{code}\nplugins = {{'{group}': {{'x': f}}}}\n")
    return file


def told(error: object, file: Path) -> str:
    """Return the line of an error, known to be one line that names the plugin and its file."""
    line = str(error)
    assert "\n" not in line
    assert f"plugin 'x' ({file} " in line
    return line


TOY = "class Toy(ToyAdapter):\n    {}\ndef f(name, options): return Toy()"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(name): return ToyAdapter()", "takes (name); it must take (name, options)"),
        ("def f(name, *, options): return ToyAdapter()", "it must take (name, options)"),
        ("def f(name, options): pass", "returned None; it must return an adapter, e.g. deeploc.wr"),
        ("def f(name, options): return {}['w']", "failed: KeyError: 'w' (line 3)"),
        (
            TOY.format("identity = {'model': 'm'}"),
            "returned dict {'model': 'm'}; it must",
        ),
        (
            TOY.format("identity = {'model': 'm', 'weights': [np.int64(1)]}"),
            "is no JSON: weights[0] is int64; use text, finite numbers",
        ),
        (
            TOY.format("identity = {'model': 'm', 'weights': float('nan')}"),
            "is no JSON: weights is nan; use text, finite numbers",
        ),
        (
            TOY.format("def __init__(self):\n        super().__init__()\n        self.sites = []"),
            "returned list []; it must return a Layout of at least one",
        ),
        (
            "class Toy(ToyAdapter):\n    @property\n    def sites(self): return self.gone\n"
            "def f(name, options): return Toy()",
            "failed: AttributeError: 'Toy' object has no attribute 'gone' (line 5)",
        ),
    ],
)
def test_an_adapter_that_does_not_say_what_it_is(code: str, message: str, tmp_path: Path) -> None:
    """How it is loaded, and what it is, is checked when it is loaded."""
    file = written(tmp_path, "adapters", code)
    with using(file), pytest.raises(PluginError) as raised:
        load_model("x:y")

    assert message in told(raised.value, file)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "returned None; it must return batches"),
        ("yield 1, 2", "returned tuple (1, 2); it must return batches"),
        (
            "yield Batch(np.arange(len(stimuli)), np.zeros((len(stimuli), layout.n_units - 1)))",
            "returned ndarray of shape (6, 25); it must return an array of floats (stimulus, unit) "
            "= (6, 26)",
        ),
        (
            "yield Batch(np.arange(len(stimuli)) + 1, np.zeros((len(stimuli), layout.n_units)))",
            "returned ndarray of shape (6,); it must return the numbers of the stimuli, whole",
        ),
        (
            "yield Batch(np.arange(2), np.zeros((2, layout.n_units)))",
            "left out or repeated 4 of 6 stimuli; it must yield each once",
        ),
    ],
)
def test_an_adapter_that_reads_wrongly(body: str, message: str, tmp_path: Path) -> None:
    """Batches of another shape, or of other stimuli, neither end in a traceback nor count."""
    method = f"def activations(self, stimuli, layout, readout):\n        {body}"
    file = written(
        tmp_path, "adapters", "from deeploc.core.adapter import Batch\n" + TOY.format(method)
    )
    with using(file), pytest.raises(PluginError) as raised:
        localize(load_model("x:y"), contrast_of(), STIMULI)

    assert message in told(raised.value, file)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("def score(self, requests): return []", "returned list []; it must return a list of 1 "),
        (
            "def score(self, requests): return [-1.5]",
            "[-1.5]; it must return a list of 1",
        ),
    ],
)
def test_an_adapter_that_scores_wrongly(method: str, message: str, tmp_path: Path) -> None:
    """One TextScore for every request."""
    file = written(tmp_path, "adapters", TOY.format(method))
    with using(file), pytest.raises(PluginError) as raised:
        score_once(load_model("x:y"), [deeploc.TextRequest("", "a")], "perplexity")

    assert message in told(raised.value, file)


def test_code_of_an_adapter_that_fails_later_is_one_line(tmp_path: Path) -> None:
    """Wherever it is called: here with a text that it does not expect."""
    method = "def _forward(self, text): return super()._forward(text) if len(text) < 7 else 1 / 0"
    file = written(tmp_path, "adapters", TOY.format(method))
    (tmp_path / "c.yaml").write_text(
        "name: n\ntitle: t\nmodality: text\nsource: s\nconditions: {a: {texts: [abc, b]}, "
        "b: {texts: [abcdefg, bc]}}\ncontrast: a > b\nread: {sites: block, pool: mean}\n"
        "split: none\n"
    )
    args = ["localize", "c.yaml", "-m", "x:y", "--plugin", str(file), "-o", "run", "-q"]
    result = CliRunner().invoke(main, args)

    assert result.exit_code == 1
    assert "failed: ZeroDivisionError: " in told(result.output.strip(), file)
    assert result.output.strip().endswith("(line 4)")


def test_a_bug_of_deeploc_is_not_told_of_a_plugin(tmp_path: Path) -> None:
    """Where deeploc's own code fails that a plugin calls, the traceback stays."""
    code = (
        "from deeploc.core.ablation import parse_gain\n"
        "def f(name, options): return parse_gain(name, 'scale') if name else 1 / 0"
    )
    file = written(tmp_path, "adapters", code)
    with using(file):
        load = entry_points.load("deeploc.adapters", "x")
        with pytest.raises(ValueError, match="no ablation mode") as of_deeploc:
            load("y", None)
        with pytest.raises(ZeroDivisionError) as of_plugin:
            load("", None)

        assert entry_points.at_fault(of_deeploc.value) is None
        assert entry_points.at_fault(of_plugin.value) == entry_points.find("deeploc.adapters", "x")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(positive): return 0", "takes (positive); it must take (positive, negative)"),
        ("def f(a, b): pass", "returned None; it must return one number per unit, an array of sh"),
        ("def f(a, b): return 1.5", "returned float 1.5; it must return one number per unit"),
        ("def f(a, b): return a - b", "returned ndarray of shape (3, 26); it must return one numb"),
        ("def f(a, b): return ['a'] * a.shape[1]", "returned list ['a', 'a', 'a', 'a', 'a',"),
        ("def f(a, b): return a[0] * 1j", "returned ndarray of shape (26,); it must return one nu"),
        ("def f(a, b): return a[0] * np.nan", "returned nan for each of the 26 units; it must"),
        ("def f(a, b): return a[9]", "failed: IndexError: index 9 is out of bounds"),
    ],
)
def test_a_statistic_that_is_wrong(code: str, message: str, tmp_path: Path) -> None:
    """One number per unit, real, and not nan everywhere."""
    file = written(tmp_path, "statistics", code)
    with using(file), pytest.raises(PluginError) as raised:
        localize(ToyAdapter(), contrast_of(statistic="x"), STIMULI)

    assert message in told(raised.value, file)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("UnitMask(mask.layout, mask.selected[:3])", "failed: MaskError: mask has 3 units but"),
        ("None", "returned None; it must return UnitMask(mask.layout, selected)"),
        (
            "UnitMask(Layout(mask.layout.sites[:1]), mask.selected[:6])",
            "of another layout; it must",
        ),
    ],
)
def test_a_control_that_is_wrong(
    returned: str, message: str, tmp_path: Path, layout: Layout
) -> None:
    """A mask over the layout that it was given."""
    code = f"from deeploc import Layout, UnitMask\ndef f(mask, ranking, seed): return {returned}"
    file = written(tmp_path, "controls", code)
    with using(file), pytest.raises(PluginError) as raised:
        control_mask(compared(layout), MaskLabel("x", 0))

    assert message in told(raised.value, file)


def compared(layout: Layout) -> Compared:
    """Return a mask of two block units, to be compared with a control."""
    selected = np.zeros(layout.n_units, dtype=bool)
    selected[[9, 15]] = True
    t = np.arange(layout.n_units, dtype=float)
    among = layout.of_kind("block")
    return Compared(UnitMask(layout, selected), stat_map_of(t, layout), among, seed=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(seed): return 'abc'", "returned str 'abc'; it must return an iterable of texts"),
        ("def f(seed): pass", "returned None; it must return an iterable of texts; write `yield"),
        ("def f(seed): return {'text': 'a'}", "returned dict {'text': 'a'}; it must return an it"),
        ("def f(seed): yield {'text': None}", "yielded dict {'text': None}; it must yield texts"),
        ("def f(seed): yield {'n': np.nan}", "yielded dict {'n': nan}; it must yield texts, or"),
    ],
)
def test_a_generator_that_is_wrong(code: str, message: str, tmp_path: Path) -> None:
    """Texts, or mappings to texts and finite numbers: `None` and `nan` are no stimuli."""
    file = written(tmp_path, "generators", code)
    with using(file), pytest.raises(PluginError) as raised:
        generate("x", 2, 0, {})

    assert message in told(raised.value, file)


def test_numbers_of_numpy_are_columns(tmp_path: Path) -> None:
    """A label drawn by NumPy is as good as one of Python."""
    file = written(tmp_path, "generators", "def f(seed): yield {'text': 'a', 'n': np.int64(2)}")
    with using(file):
        assert generate("x", 1, 0, {}) == [{"text": "a", "n": "2"}]


def test_the_list_of_plugins_says_what_cannot_be_called(tmp_path: Path) -> None:
    """Before any of them is used."""
    codes = {
        "tasks": "def f(context): pass",
        "controls": "def f(mask, seed): pass",
        "generators": "def f(seed, n): pass",
    }
    for group, code in codes.items():
        with using(written(tmp_path, group, code)):
            state = _listed(entry_points.find(f"deeploc.{group}", "x")).state  # type: ignore[arg-type]
        assert "it must take (" in state or "needs a default" in state


TASK = """\
class f:
    name, metrics, identity = "x", {{"n": "higher"}}, {{}}
    def __init__(self, options, context): pass
    def prepare(self, adapter): pass
    def measure(self, adapter):
        return [Measurement("n", "a", np.ones(3), np.ones(3))]
    {}
"""
MEASURE = "def measure(self, adapter): return "
ONES = 'Measurement("n", "a", np.ones(3), np.ones(3))'
TASKS = {
    "name = 'y'": "returned a task called 'y'; give it the name of the plugin",
    "metrics = ['n']": "returned list ['n']; it must return a mapping of each metric to",
    "metrics = {'n': 'more'}": "returned dict {'n': 'more'}; it must return a mapping of each",
    "metrics = {}": "returned dict {}; it must return a mapping of each metric",
    "identity = {'n': np.int64(3)}": "is no JSON: n is int64; use text, finite numbers of Python",
    "identity = {'n': {'m': [1, {2}]}}": "is no JSON: n.m[1] is set; use text",
    "identity = {'n': float('inf')}": "is no JSON: n is inf; use text",
    "identity = {3: 1}": "is no JSON: it has the key 3, which is no text",
    "identity = 'n'": "returned str 'n'; it must return a mapping of JSON values",
    "@property\n    def identity(self): return 1 / 0": "division by zero (line 11)",
    "measure = None": "is None; it must take (adapter)",
    "def prepare(self): pass": "takes (); it must take (adapter)",
    "def measure_units(self, activations): pass": "which has no 'reading'; it must return a task",
    "def measure_units(self): pass\n    def reading(self, layout): pass": (
        "takes (); it must take (activations)"
    ),
    "def measure(self, adapter, n): pass": "takes (adapter, n); it must take (adapter)",
    "def __init__(self, options): pass": "takes (options); it must take (options, context)",
    "def prepare(self, adapter): adapter.gone": "AttributeError: 'ToyAdapter' object has no attr",
    MEASURE + "None": "returned None; it must return a list of Measurement",
    MEASURE + ONES: "returned Measurement; it must return a list of Measurement",
    MEASURE + "[]": "returned list []; it must return a list of Measurement",
    MEASURE + "[1]": "returned list [1]; it must return a list of Measurement",
    MEASURE + "1 / 0": "failed: ZeroDivisionError: division by zero (line 10)",
    MEASURE + f"[{ONES}, {ONES}]": "returned n of 'a' twice; it must return one Measurement of",
    MEASURE + "[Measurement('N', 'a', np.ones(3), np.ones(3))]": (
        "returned the metric 'N', which it does not declare; its `metrics`: n"
    ),
    MEASURE + "[Measurement('n', 3, np.ones(3), np.ones(3))]": "returned int 3; it must return",
    MEASURE + "[Measurement('n', 'a', np.ones(3), 1.0)]": (
        "returned amounts ndarray of shape (3,) and weights float 1.0 for n of 'a'; both must be "
        "arrays of numbers, one per item: (item,)"
    ),
    MEASURE + "[Measurement('n', 'a', np.ones(3), np.ones(2))]": "weights ndarray of shape (2,)",
    MEASURE + "[Measurement('n', 'a', np.ones((3, 1)), np.ones((3, 1)))]": "both must be arrays",
    MEASURE + "[Measurement('n', 'a', ['x'], [1])]": "returned amounts list ['x'] and weights",
    MEASURE + "[Measurement('n', 'a', np.ones(0), np.ones(0))]": "returned no item for n of 'a'",
    MEASURE + "[Measurement('n', 'a', np.full(3, np.nan), np.ones(3))]": (
        "returned 3 of 3 amounts of n of 'a' that are not finite, on the intact model; leave out"
    ),
    MEASURE + "[Measurement('n', 'a', np.ones(3), np.array([1, np.inf, 1]))]": (
        "returned 1 of 3 weights of n of 'a' that are not finite"
    ),
    MEASURE + "[Measurement('n', 'a', np.ones(3), np.zeros(3))]": "that are negative or all 0;",
}
"""What a task has that is wrong -> what is said of it."""

SCRIPT = """\
import json, sys
import deeploc
from deeploc.plugins import using
from deeploc.testing import ToyAdapter
told = []
for file in sys.argv[1:]:
    with using(file):
        try:
            contrast = deeploc.load_contrast("contrast.yaml", ["evaluate=x"])
            tasks = deeploc.make_tasks(contrast, ({}, {}))
            scores = deeploc.evaluate(ToyAdapter(), tasks, {deeploc.Cell(): None})
            told.append([score.value for score in scores])
        except deeploc.DeeplocError as error:
            told.append(str(error))
print(json.dumps(told))
"""


def test_a_task_that_is_wrong(tmp_path: Path) -> None:
    """When it is made, or measured; in a process of its own, in which no types are checked."""
    (tmp_path / "contrast.yaml").write_text(
        "name: n\ntitle: t\nmodality: text\nsource: s\ncontrast: a > b\n"
        "conditions: {a: {texts: [a, b]}, b: {texts: [c, d]}}\n"
    )
    lenient = {MEASURE + "[Measurement('n', 'a', [1, 2, 6], [True, True, True])]": [3.0]}
    expected = {**TASKS, **lenient}
    files = []
    for number, wrong in enumerate(expected):
        folder = tmp_path / str(number)
        folder.mkdir()
        code = "from deeploc.core.results import Measurement\n" + TASK.format(wrong)
        files.append(written(folder, "tasks", code))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, files)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)

    assert lines[len(TASKS) :] == list(lenient.values())
    for line, file, message in zip(lines, files, TASKS.values(), strict=False):
        assert message in told(line, file)


def test_a_task_that_was_handed_over_is_checked_too() -> None:
    """It has no plugin: the message names the task."""

    class Mine:
        name, metrics = "mine", {"n": "higher"}
        identity: Mapping[str, str] = {}

        def prepare(self, adapter: object) -> None:
            pass

        def measure(self, _: object) -> object:
            return None

    with pytest.raises(DeeplocError, match=r"^task 'mine' returned None; it must return a list"):
        deeploc.evaluate(ToyAdapter(), [Mine()], {deeploc.Cell(): None})  # type: ignore[list-item]


@pytest.mark.parametrize(
    "changed",
    [
        "statistic: wlch",
        "conditions: {a: {builtin: sentnces}, b: {texts: [a, b]}}",
        "ablate: {controls: {rndom: 3}}",
        "evaluate: perplexty",
    ],
)
def test_a_name_that_is_not_known_may_be_of_a_file(changed: str) -> None:
    """Of every group that a contrast names; the option is named beside the names there are."""
    plain = "conditions: {a: {texts: [a, b]}, b: {texts: [c, d]}}"
    conditions = "" if "conditions" in changed else plain
    Path("c.yaml").write_text(
        f"name: n\ntitle: t\nmodality: text\nsource: s\ncontrast: a > b\n{conditions}\n{changed}\n"
    )
    result = CliRunner().invoke(main, ["check", "c.yaml"])

    assert result.exit_code == 1
    assert "did you mean" in result.output
    assert result.output.strip().endswith("those of a file need --plugin FILE.py")
