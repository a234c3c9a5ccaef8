"""Plugins in one file and in the user's config: what can be wrong, keys, and what a run records."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from deeploc import entry_points
from deeploc.analysis.comparing import of_responses
from deeploc.analysis.permuting import permuted_maxima
from deeploc.analysis.reading import ByCondition
from deeploc.cli import main
from deeploc.contrast.fields import Controls
from deeploc.contrast.model import Contrast
from deeploc.contrast.schema import contrast_schema
from deeploc.core.controls import Compared, MaskLabel, control_mask
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import ContrastError, PluginError
from deeploc.experiment import open_run
from deeploc.generators.registry import complete, generate
from deeploc.plugin_files import PluginFile
from deeploc.plugins import load_model, use, using
from deeploc.runs.evaluating import EvaluateStage
from deeploc.runs.inputs import tasks_of
from deeploc.runs.saved_run import load_run
from deeploc.stimuli import Stimulus

from .conftest import stat_map_of

PLUGIN = """\
import numpy as np
from typing import Literal
from deeploc.core.results import Measurement
from deeploc.core.units import UnitMask
from deeploc.testing import ToyAdapter

def difference(positive, negative):
    return positive.mean(axis=0) - negative.mean(axis=0)

def first_units(mask, ranking, seed):
    selected = np.zeros(mask.layout.n_units, dtype=bool)
    selected[: len(mask)] = True
    return UnitMask(mask.layout, selected)

def letters(seed, alphabet="aeiou", length=5, case: Literal["lower", "upper"] = "lower"):
    rng = np.random.default_rng(seed)
    while True:
        yield getattr("".join(rng.choice(list(alphabet), length)), case)()

class Count:
    name, metrics, identity = "count", {"n": "higher"}, {}

    def __init__(self, options, context):
        self.held_out = context.held_out

    def prepare(self, adapter):
        pass

    def measure(self, adapter):
        n = {name: np.ones(len(group)) for name, group in self.held_out.items()}
        return [Measurement("n", name, ones, ones) for name, ones in n.items()]

plugins = {
    "adapters": {"toy": lambda name, options: ToyAdapter()},
    "tasks": {"count": Count},
    "statistics": {"difference": difference},
    "controls": {"first-units": first_units},
    "generators": {"letters": letters},
}
"""

CONTRAST = """\
name: vowels
title: Vowels > consonants
modality: text
source: made up for the tests
conditions:
  vowels: {builtin: letters, limit: 8}
  consonants: {builtin: {generator: letters, alphabet: bcdfg, seed: 1}, limit: 8}
contrast: vowels > consonants
statistic: difference
read: {sites: block, pool: mean}
select: {k: 3}
ablate: {controls: {random: 2, first-units: true}}
evaluate: count
verdict: {untrained: false}
"""


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "no-config.yaml").write_text("")
    monkeypatch.setenv("DEEPLOC_CONFIG", str(tmp_path / "no-config.yaml"))
    monkeypatch.chdir(tmp_path)
    with entry_points.without_files():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "vowels.yaml").write_text(CONTRAST)
    return tmp_path / "mine.py"


def deeploc(*args: object) -> Result:
    return CliRunner().invoke(main, [*map(str, args)])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("plugins = {", r"bad\.py:1: is no Python: '\{' was never closed; repair the file"),
        ("x = 1\0", r"bad\.py: is no Python: .*null bytes"),
        (
            "x = 1\n",
            r'bad\.py: declares no plugins; add plugins = \{"adapters": \{"mine": load\}\}',
        ),
        ("plugins = dict()\n", r"bad\.py:1: plugins must be a dictionary that is written out"),
        ("plugins = {}\n", r"bad\.py:1: `plugins` is empty"),
        ("plugins = {'adapters': {}}\n", r"bad\.py:1: `plugins` is empty"),
        (
            "plugins = {'adapter': {'a': int}}\n",
            r"bad\.py:1: there is no group 'adapter' of plugins; did you mean 'adapters'\? groups: "
            "adapters, tasks, statistics, controls, generators",
        ),
        ("plugins = {'tasks': [int]}\n", r'bad\.py:1: plugins\["tasks"\] must be a dictionary'),
        ("plugins = {'tasks': {n: int}}\n", r'a key of plugins\["tasks"\] is no text in quotes'),
        ("plugins = {'tasks': {'a': 1, 'a': 2}}\n", r"holds 'a' twice; rename one of them"),
        (
            "plugins = {'tasks': {'a': 1}}\nplugins = {'tasks': {'b': 1}}\n",
            r"bad\.py:2: declares plugins a second time",
        ),
        ("plugins = {'tasks': {'a:b': 1}}\n", r"'a:b' .* has no usable name; use letters"),
        ("plugins = {'tasks': {'perplexity': int}}\n", r"two plugins are called 'perplexity'"),
        (
            "plugins = {'statistics': {'welch': int}}\n",
            r"deeploc has statistics 'welch' of its own",
        ),
        ("plugins = {'controls': {'random': int}}\n", r"deeploc has controls 'random' of its own"),
        ("plugins = {'generators': {'copying': int}}\n", r"generators 'copying' of its own"),
    ],
)
def test_a_file_that_declares_wrongly_is_refused_in_one_line(
    code: str, message: str, tmp_path: Path
) -> None:
    """Before anything of it is run; the line names the file and the line in it."""
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(PluginError, match=message) as raised:
        use([tmp_path / "bad.py"])

    assert "\n" not in str(raised.value)
    assert not any(plugin.file for plugin in entry_points.offered())


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module\n", r"bad\.py:1: ModuleNotFoundError: .*repair the file"),
        ("import beside\n", r"a plugin file stands alone and does not import its neighbours"),
        ("raise SystemExit(3)\n", r"bad\.py:1: SystemExit: 3"),
        (
            "",
            r"adapters plugin 'a' \(.*bad\.py \w{8}\) is int '1'; it must be a function or a class",
        ),
    ],
)
def test_a_file_that_fails_says_where(code: str, message: str, tmp_path: Path) -> None:
    """When one of its plugins is loaded, not when it is put in force."""
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "bad.py").write_text(f"{code}plugins = {{'adapters': {{'a': 1}}}}\n")
    with using(tmp_path / "bad.py"), pytest.raises(PluginError, match=message):
        load_model("a:x")


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    """The path, and what it must be."""
    result = deeploc("sites", "a:x", "--plugin", tmp_path / "gone.py")

    assert result.exit_code == 1
    assert result.output == (
        f"Error: plugin file {tmp_path}/gone.py: no such file; name a Python file that declares "
        "plugins\n"
    )


def test_listing_names_runs_no_code(tmp_path: Path) -> None:
    """A file is read, not run, until one of its plugins is loaded."""
    (tmp_path / "loud.py").write_text("1 / 0\nplugins = {'tasks': {'loud': int}}\n")
    with using(tmp_path / "loud.py"):
        assert "loud" in entry_points.available("deeploc.tasks")
        assert contrast_schema()["properties"]["evaluate"]["examples"][0].count("loud") == 1


def test_files_end_with_their_context(file: Path) -> None:
    """After `using`, and after a command, no file is in force."""
    with using(file):
        assert load_model("toy:x").identity["model"] == "toy"
    deeploc("schema", "--plugin", file)

    assert entry_points.given_files() == ()


def test_what_is_run_is_what_was_read(file: Path) -> None:
    """The code that identifies a plugin is the code that is run, though the file changes."""
    read = PluginFile.read(file)
    file.write_text("plugins = {'tasks': {'other': int}}\n")

    assert read.load("deeploc.tasks", "count").name == "count"


def test_the_config_file_names_plugins(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to its own folder; a broken file is one warning, and others work."""
    (tmp_path / "config").mkdir()
    (tmp_path / "broken.py").write_text("plugins = [\n")
    (tmp_path / "config" / "c.yaml").write_text("plugins: [../mine.py, ../broken.py]\n")
    monkeypatch.setenv("DEEPLOC_CONFIG", str(tmp_path / "config" / "c.yaml"))
    listed = {(p["group"], p["name"]): p for p in json.loads(deeploc("plugins", "--json").stdout)}

    assert deeploc("sites", "toy:x").exit_code == 0
    assert listed["statistics", "difference"]["state"] == "ok"
    assert listed["statistics", "difference"]["origin"] == str(file.parent / "config/../mine.py")
    assert "is no Python" in listed["files", "-"]["state"]


def test_a_broken_file_of_the_config_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often plugins are looked up."""
    (tmp_path / "broken.py").write_text("plugins = [\n")
    (tmp_path / "c.yaml").write_text("plugins: broken.py\n")
    monkeypatch.setenv("DEEPLOC_CONFIG", str(tmp_path / "c.yaml"))
    for _ in range(2):
        entry_points.available("deeploc.tasks")

    assert [record.getMessage()[:32] for record in caplog.records] == [
        "warning: plugin file left out: /"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugin: [a.py]", r"c\.yaml:1: unknown key 'plugin'; did you mean 'plugins'\? allowed: "),
        ("plugins: [3]", r"c\.yaml:1: plugins must be paths of Python files"),
        ("plugins: {a: b}", r"c\.yaml:1: plugins must be paths of Python files"),
        ("- a.py", r"c\.yaml:1: must be a mapping; write `plugins: \[FILE\.py\]`"),
        ("plugins: [", r"c\.yaml:\d: .*; write `plugins: \[FILE\.py\]`"),
        (None, r"c\.yaml: no such file; DEEPLOC_CONFIG must name a config file"),
    ],
)
def test_a_wrong_config_file_is_refused(
    text: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are strict; the message names the line."""
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
    monkeypatch.setenv("DEEPLOC_CONFIG", str(tmp_path / "c.yaml"))
    with pytest.raises(PluginError, match=message):
        entry_points.available("deeploc.tasks")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("statistic=differenc", "did you mean 'difference'? it must be one of welch,"),
        ("ablate.controls.first-unit=1", "did you mean 'first-units'? allowed: random,"),
        ("conditions.vowels.builtin=leters", "did you mean letters? there are: arithmetic,"),
        ("conditions.vowels.builtin.alphabett=x", "did you mean alphabet? there are: alphabet,"),
        ("ablate.controls.first-units=-1", "-1 is no number of masks; write a whole number"),
        ("conditions.vowels.builtin={generator: letters, case: x}", "case of letters is called"),
    ],
)
def test_a_contrast_names_the_nearest_plugin(file: Path, change: str, message: str) -> None:
    """Names of plugins and their options are checked when the contrast is loaded."""
    from deeploc.contrast.model import load

    change = change.replace("builtin.alphabett=x", "builtin={generator: letters, alphabett: x}")
    with using(file), pytest.raises(ContrastError) as raised:
        load(file.parent / "vowels.yaml", [change])

    assert message in str(raised.value)


def test_the_schema_holds_the_plugins_that_are_known(file: Path) -> None:
    """What the loader takes the schema takes, with the plugins and without them."""
    import jsonschema
    import yaml

    document = yaml.safe_load((file.parent / "vowels.yaml").read_text())
    with using(file):
        jsonschema.validate(document, contrast_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, contrast_schema())
    document |= {"statistic": "welch", "ablate": {}}
    document["conditions"] = {name: {"builtin": "copying"} for name in document["conditions"]}
    jsonschema.validate(document, contrast_schema())


def test_the_options_of_a_generator_are_those_of_its_signature(file: Path) -> None:
    """Defaults, their types and `Literal` choices; a stream is the same for the same seed."""
    with using(file):
        made = generate("letters", 3, 5, {"length": 2, "case": "upper"})
        again = generate("letters", 2, 5, {"length": 2, "case": "upper"})

        assert complete("letters", {}) == {"alphabet": "aeiou", "length": 5, "case": "lower"}
        with pytest.raises(ContrastError, match="option length of letters is 'x'; it must be"):
            complete("letters", {"length": "x"})
    assert made[:2] == again
    assert all(len(record["text"]) == 2 and record["text"].isupper() for record in made)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(): return []", "takes no seed; its first parameter must be `seed`"),
        ("def f(seed, n): return []", "option 'n' needs a default that is text, a number"),
        ("def f(seed): yield 3", "yielded int 3; it must yield texts, or mappings to texts and"),
        ("def f(seed):\n    yield 'a'\n    yield [][0]", r"IndexError: .* \(line 3\)"),
    ],
)
def test_a_generator_that_is_wrong_says_so(code: str, message: str, tmp_path: Path) -> None:
    """One line, before or while it is read."""
    (tmp_path / "g.py").write_text(f"{code}\nplugins = {{'generators': {{'g': f}}}}\n")
    with using(tmp_path / "g.py"), pytest.raises(PluginError, match=message):
        generate("g", 2, 0, {})


def compared(layout: Layout) -> Compared:
    """Return a mask of two block units, to be compared with a control."""
    selected = np.zeros(layout.n_units, dtype=bool)
    selected[[9, 15]] = True
    t = np.arange(layout.n_units, dtype=float)
    among = layout.of_kind("block")
    return Compared(UnitMask(layout, selected), stat_map_of(t, layout), among, seed=1)


def test_a_control_chooses_among_the_sites_of_one_kind(file: Path, layout: Layout) -> None:
    """Its first two units are the first of the blocks, not of the model."""
    with using(file):
        mask = control_mask(compared(layout), MaskLabel("first-units"))

    assert np.flatnonzero(mask.selected).tolist() == [8, 9]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            "mask.selected",
            r"returned ndarray of shape \(12,\); it must return UnitMask\(mask\.layout, selected\)",
        ),
        ("UnitMask(mask.layout, ~mask.selected)", "chose 10 units for a mask of 2"),
        ("1 / 0", r"failed: ZeroDivisionError: division by zero \(line 2\)"),
    ],
)
def test_a_control_that_is_wrong_says_so(
    returned: str, message: str, tmp_path: Path, layout: Layout
) -> None:
    """It must return a mask of as many units over the sites that it was given."""
    code = "from deeploc import UnitMask\ndef c(mask, ranking, seed): return " + returned
    (tmp_path / "c.py").write_text(f"{code}\nplugins = {{'controls': {{'c': c}}}}\n")
    with using(tmp_path / "c.py"), pytest.raises(PluginError, match=message):
        control_mask(compared(layout), MaskLabel("c", 0))


def test_labels_of_controls_of_plugins_are_parsed() -> None:
    """A name in scores.csv says which control it is and which of its masks."""
    wanted = Controls.model_validate({"random": 0, "first-units": 2}, context={"recorded": True})

    assert wanted.of_plugins == {"first-units": 2}
    assert MaskLabel.parse("first-units-1") == MaskLabel("first-units", 1)
    assert MaskLabel.parse("random-ish-1") == MaskLabel("random-ish", 1)


def vowels(command: str, file: Path, *more: object) -> Result:
    args = (command, file.parent / "vowels.yaml", "-m", "toy:x", "-o", file.parent / "run", "-q")
    return deeploc(*args, "--plugin", file, *more)


def test_a_run_finds_its_plugins_again(file: Path) -> None:
    """The statistic ranks, the control is measured and shown, `evaluate` needs no --plugin."""
    done = vowels("run", file)
    again = deeploc("evaluate", file.parent / "run", "-v")
    assert done.exit_code == 0, done.output
    manifest = json.loads((file.parent / "run" / "manifest.json").read_text())

    assert again.exit_code == 0, again.output
    assert re.search(r"^    first-units +1\.00 *$", again.stdout, re.MULTILINE)
    assert max(len(line) for line in again.stdout.splitlines() if "/" not in line) <= 80
    assert manifest["options"]["plugins"][0]["file"] == str(file)
    assert ",first-units," in (file.parent / "run" / "scores.csv").read_text()


def test_a_plugin_file_that_is_gone_or_changed_is_one_line(file: Path) -> None:
    """`evaluate` says so; what is read without the model needs no plugin."""
    vowels("localize", file)
    file.write_text(PLUGIN + "# changed\n")
    changed = deeploc("evaluate", file.parent / "run")
    file.rename(file.parent / "moved.py")
    gone = deeploc("evaluate", file.parent / "run")

    assert "mine.py has changed since; restore it, or name it with --plugin" in changed.output
    assert "mine.py is gone; name where it is now with --plugin FILE\n" in gone.output
    assert [result.output.count("\n") for result in (changed, gone)] == [1, 1]
    assert len(load_run(file.parent / "run").mask) == 3


def test_a_plugin_file_that_moved_is_the_same_plugin(file: Path) -> None:
    """Its identity is its code: the run is opened, and the new place is recorded."""
    vowels("localize", file)
    file.rename(file.parent / "moved.py")
    with using(file.parent / "moved.py"):
        run = open_run(file.parent / "run")

    assert run.header["options"]["plugins"][0]["file"] == str(file.parent / "moved.py")


@pytest.mark.parametrize("section", ["model", "statistic"])
def test_a_changed_plugin_is_not_what_was_localized(file: Path, section: str) -> None:
    """Statistics of an adapter, or by a statistic, whose code has changed are not used again."""
    more: tuple[object, ...] = ()
    if section == "statistic":  # only the statistic is of the file that changes
        (file.parent / "toys.py").write_text(
            "from deeploc.testing import ToyAdapter\n"
            "plugins = {'adapters': {'toys': lambda name, options: ToyAdapter()}}\n"
        )
        more = ("--plugin", file.parent / "toys.py", "-m", "toys:x")
    first = vowels("localize", file, *more)
    file.write_text(PLUGIN + "# changed\n")
    second = vowels("localize", file, *more)

    assert first.exit_code == 0, first.output
    assert second.exit_code == 1
    told = "contrast (plugin)" if section == "statistic" else "adapter plugin (code)"
    assert told in second.output


def inputs_of_evaluation(folder: Path) -> tuple[Any, Any]:
    """Return what decides the plan of the evaluation, and the keys of its tasks."""
    run = open_run(folder)
    tasks = tasks_of(run.contrast, run.setup, run.stimuli)
    inputs = dict(EvaluateStage(tasks, run.contrast.ablate, run.contrast).inputs(run))
    return inputs["control plugins"], inputs["tasks"]


def test_a_changed_control_or_task_is_measured_anew(file: Path, tmp_path: Path) -> None:
    """What was localized stays; the control, or the task, has another key."""
    head = PLUGIN[: PLUGIN.index("plugins = {")]
    declared = {"controls": "first-units: first_units", "tasks": "count: Count"}
    for group, item in declared.items():
        name, value = item.split(": ")
        own = f'plugins = {{"{group}": {{"{name}": {value}}}}}\n'
        (tmp_path / f"{group}.py").write_text(head + own)
        file.write_text(re.sub(f' *"{group}": .*\n', "", file.read_text()))
    others = [tmp_path / "controls.py", tmp_path / "tasks.py"]
    done = vowels("localize", file, "--plugin", others[0], "--plugin", others[1])
    assert done.exit_code == 0, done.output
    keys = []
    for changed in (None, *others):
        if changed:
            changed.write_text(changed.read_text() + "# changed\n")
        with using(file, *others):
            keys.append(inputs_of_evaluation(tmp_path / "run"))

    assert [keys[0][0] != keys[1][0], keys[0][1] == keys[1][1]] == [True, True]
    assert [keys[1][0] == keys[2][0], keys[1][1] != keys[2][1]] == [True, True]


def test_a_statistic_of_another_shape_is_one_line(file: Path) -> None:
    """One value per unit; the message names the plugin and the shape."""
    file.write_text(PLUGIN.replace("positive.mean(axis=0) - negative.mean(axis=0)", "np.zeros(3)"))
    result = vowels("localize", file)

    assert result.exit_code == 1
    assert (
        "returned ndarray of shape (3,); it must return one number per unit, an array of shape ("
        in result.output
    )


def test_two_packages_of_one_name_disturb_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of the two can be loaded, deeploc's own and all others can."""
    for package in ("one", "two"):
        info = tmp_path / package / f"{package}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {package}\nVersion: 1\n")
        points = f"[deeploc.tasks]\nsame = {package}:make\nperplexity = {package}:make\n"
        (info / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(tmp_path / package)

    with pytest.raises(PluginError, match="two plugins are called 'same' in tasks: one of"):
        entry_points.load("deeploc.tasks", "same")
    assert entry_points.find("deeploc.tasks", "perplexity").is_own
    assert callable(entry_points.load("deeploc.tasks", "perplexity"))


def test_a_package_is_identified_by_its_code_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is worked on changes without its version."""
    from deeploc.plugin import _source_hash

    folder = tmp_path / "made_for_this_test"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "__init__.py").write_text("")
    (folder / "part.py").write_text("x = 1\n")
    before = _source_hash("made_for_this_test.part")
    _source_hash.cache_clear()
    (folder / "part.py").write_text("x = 2\n")

    assert _source_hash("made_for_this_test.part") != before
    assert "made_for_this_test" not in sys.modules


@pytest.mark.parametrize("against", ["pooled", "each"])
def test_welch_as_a_plugin_gives_what_deeploc_has(
    tmp_path: Path, rng: np.random.Generator, against: str
) -> None:
    """A plugin that calls SciPy: the same t, p and d, and the same null under permuted labels."""
    (tmp_path / "w.py").write_text(
        "from scipy.stats import ttest_ind\n"
        "def welch(a, b): return ttest_ind(a, b, equal_var=False).statistic\n"
        "plugins = {'statistics': {'scipy-welch': welch}}\n"
    )
    names = ("a", "b", "c")
    stimuli = {n: [Stimulus(f"{n}{i}", f"{n}{i}") for i in range(7)] for n in names}
    groups = ByCondition.of(names, stimuli)
    rows = {name: groups.rows(name) for name in names}
    responses = rng.normal(size=(21, 30)) * rng.uniform(0.1, 10, 30)
    found, maxima = {}, {}
    with using(tmp_path / "w.py"):
        for statistic in ("welch", "scipy-welch"):
            contrast = contrast_of(statistic, against)
            found[statistic] = of_responses(contrast, responses, rows)
            maxima[statistic] = permuted_maxima(contrast, groups, seed=3)(responses)

    for own, of_plugin in zip(found["welch"], found["scipy-welch"], strict=True):
        np.testing.assert_allclose(own, of_plugin, rtol=1e-9)
    np.testing.assert_allclose(
        maxima["welch"], maxima["scipy-welch"], rtol=1e-4
    )  # single precision


def contrast_of(statistic: str, against: str) -> Contrast:
    """Return a contrast of three conditions of texts."""
    conditions = {name: {"texts": [f"{name}{i}" for i in range(7)]} for name in "abc"}
    words = {"name": "n", "title": "t", "modality": "text", "source": "s", "contrast": "a > b, c"}
    return Contrast.model_validate(
        {**words, "conditions": conditions, "statistic": statistic, "against": against}
    )
