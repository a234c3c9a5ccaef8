"""The stage that localizes in an untrained copy: what it records, when, and why it may not."""

import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deeploc.cli import main
from deeploc.contrast.model import Contrast, load
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.untrained import Untrained
from deeploc.errors import RunError
from deeploc.experiment import localize_run, run_all
from deeploc.report.untrained_text import describe_untrained
from deeploc.report.verdict_text import NOT_ASKED, lines_of
from deeploc.runs.saved_run import SavedRun, load_run
from deeploc.runs.setup import Setup
from deeploc.runs.untrained import MOST_PARAMETERS

from .test_stages import contrast_of


def localized(contrast: Contrast, folder: Path, setup: Setup) -> SavedRun:
    localize_run(contrast, setup, folder)
    return load_run(folder)


def test_the_copy_has_the_numbers_of_a_run_of_its_own(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Preference, halves and number of units are those of --untrained with the same seed."""
    contrast, options = load(str(contrast_file)), ModelOptions(seed=3)
    setup = Setup(f"hf:{tiny_lm}", options)
    trained = localized(contrast, tmp_path / "trained", setup).untrained
    alone = replace(setup, model=replace(options, untrained=True))
    own = localized(contrast, tmp_path / "own", alone)
    assert trained is not None
    assert own.profile is not None
    assert own.reliability is not None

    assert [kind.sites for kind in trained.kinds] == ["mlp-neurons", "block"]
    for kind in trained.kinds:
        preference = own.profile.preference(kind.sites, "selected")
        assert kind.preference is not None
        assert kind.preference.t == pytest.approx(preference.t, rel=1e-6)
        assert kind.preference.d == pytest.approx(preference.d, rel=1e-6)
        assert kind.halves == own.reliability.of(kind.sites).halves
        assert kind.n_selected == len(own.mask.of_kind(kind.sites))
    assert own.untrained == Untrained(missing="the model itself is untrained")
    for line, kind in zip(describe_untrained(trained), trained.kinds, strict=True):
        assert line.startswith(f"{kind.sites}: untrained copy: held-out d = ")


@pytest.mark.parametrize(
    ("contrast", "model"), [("language", "reference:lm"), ("faces-rendered", "reference:cnn")]
)
def test_the_copy_is_given_up(contrast: str, model: str, tmp_path: Path) -> None:
    """After a run there is one adapter more, that of the model, whose units prefer more."""

    def n_adapters() -> int:
        names = ("HFAdapter", "ImageAdapter")
        return sum(type(value).__name__ in names for value in gc.get_objects())

    gc.collect()
    before = n_adapters()
    run = localize_run(load(contrast), Setup(model, limit=16), tmp_path)
    after = n_adapters()
    saved = load_run(tmp_path)
    assert saved.untrained is not None
    assert saved.profile is not None

    assert isinstance(run.adapter, Adapter)
    assert after == before + 1
    for kind in saved.untrained.kinds:
        assert kind.preference is not None
        assert kind.preference.d < saved.profile.preference(kind.sites, "selected").d


PLUGIN = '''
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeploc.core.units import Layout
from deeploc.errors import AdapterError
from deeploc.testing import ToyAdapter

LOADED = []


class Untrained(ToyAdapter):
    """Mixes the letters, and takes d for a, e for b, f for c."""

    def _forward(self, text):
        mixing = np.random.default_rng(0).normal(size=(26, 26))
        seen = super()._forward(text.translate(str.maketrans("def", "abc")))
        return {name: x @ mixing for name, x in seen.items()}


def load(name, options):
    LOADED.append(options.untrained)
    adapter = Untrained() if options.untrained and name != "same" else ToyAdapter()
    weights = "random" if isinstance(adapter, Untrained) else "trained"
    adapter.identity = {"adapter": "toy", "model": name, "weights": weights}
    if name == "large":
        adapter.identity |= {"parameters": 2**30 + 1}
    if options.untrained and name == "sites":
        adapter.sites = Layout(tuple(replace(s, n_units=25) for s in adapter.sites.sites))
    if options.untrained and name == "refuses":
        raise AdapterError("its weights are all there is of it; ask its author")
    if options.untrained and name == "memory":
        raise MemoryError
    if options.untrained and name == "unread":
        adapter._read = None
    if options.untrained and name == "sometimes" and not Path("enough").exists():
        raise MemoryError
    return adapter
'''


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Install an adapter ``letters-``; return the list of what it has loaded: untrained or not."""
    package = tmp_path / "package"
    info = package / "deeploc_test_letters-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: deeploc-test-letters\nVersion: 1\n")
    points = "[deeploc.adapters]\ntest-letters = deeploc_test_letters:load\n"
    (info / "entry_points.txt").write_text(points)
    (package / "deeploc_test_letters.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(package)
    monkeypatch.chdir(tmp_path)
    import deeploc_test_letters as plugin

    yield plugin.LOADED
    del sys.modules["deeploc_test_letters"]


WORDS = ("abba", "bacab", "cabba", "acb", "bcca", "aacb", "abcab", "cab", "baca", "cba")
OTHERS = tuple(word.translate(str.maketrans("abc", "def")) for word in WORDS)


def letters(**changes: Any) -> Contrast:
    conditions = {"abc": {"texts": list(WORDS)}, "def": {"texts": list(OTHERS)}}
    return contrast_of(conditions=conditions, **{"select": {"k": 3}, **changes})


@pytest.mark.parametrize("split", ["half", "none"])
def test_a_copy_that_cannot_tell_the_conditions_apart(
    split: str, loaded: list[bool], tmp_path: Path
) -> None:
    """The known truth: whatever prefers one side in a half prefers the other side in the other."""
    run_all(letters(split=split), Setup("test-letters:x"), tmp_path / "run")
    saved = load_run(tmp_path / "run")
    assert saved.verdict is not None
    assert saved.untrained is not None

    assert [network.answer("selective") for network in saved.verdict.networks] == ["yes", "yes"]
    assert [network.answer("trained") for network in saved.verdict.networks] == ["yes", "yes"]
    assert [kind.n_selected for kind in saved.untrained.kinds] == [3, 3]
    assert [kind.preference is None for kind in saved.untrained.kinds] == [split == "none"] * 2
    assert loaded == [False, True]


@pytest.mark.usefixtures("loaded")
def test_nothing_of_it_touches_the_model(tmp_path: Path) -> None:
    """Every file but the verdict is to the byte that of a run without a copy."""
    for name, wanted in (("with", True), ("without", False)):
        contrast = letters(verdict={"untrained": wanted})
        run_all(contrast, Setup("test-letters:x"), tmp_path / name)
    files = ("statmap.safetensors", "mask.safetensors", "units.csv", "profile.csv", "scores.csv")
    both, without = (load_run(tmp_path / name) for name in ("with", "without"))

    for file in files:
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()
    assert repr(both.reliability) == repr(without.reliability)
    assert without.untrained == Untrained(missing="switched off (verdict.untrained: false)")


def test_a_second_run_loads_no_second_copy(loaded: list[bool], tmp_path: Path) -> None:
    """Neither a run again, nor an evaluation, nor one of the same model under another name."""
    for name in ("x", "x", "y"):
        run_all(letters(), Setup(f"test-letters:{name}"), tmp_path / "run")

    assert loaded == [False, True, False, False]


@pytest.mark.parametrize(
    "changes",
    [{"select": {"k": 2}}, {"read": {"sites": ["block"], "pool": "max"}}, {"seed": 1}],
)
def test_what_decides_its_numbers_makes_it_again(
    changes: dict[str, Any], loaded: list[bool], tmp_path: Path
) -> None:
    """The rule of selection, the read-out, the seed."""
    setup = Setup("test-letters:x")
    run_all(letters(), setup, tmp_path / "run")
    other = Setup("test-letters:x", ModelOptions(seed=changes.pop("seed", 0)))
    run_all(letters(**changes), other, tmp_path / "run", overwrite=True)
    run_all(letters(**changes), other, tmp_path / "fresh")

    assert loaded == [False, True] * 3
    assert load_run(tmp_path / "run").untrained == load_run(tmp_path / "fresh").untrained


def test_switched_off_and_on(loaded: list[bool], tmp_path: Path) -> None:
    """No copy is built, and no score is measured again; on again, it is built."""
    off = letters(verdict={"untrained": False})
    answers = []
    for contrast in (off, letters(), off):
        run_all(contrast, Setup("test-letters:x"), tmp_path / "run")
        made = load_run(tmp_path / "run").verdict
        assert made is not None
        answers.append(made.networks[0].answer("trained"))

    assert answers == ["not asked", "yes", "not asked"]
    assert loaded == [False, False, True, False]


REASONS = {
    "refuses": "its weights are all there is of it; ask its author",
    "memory": "an untrained copy does not fit into memory",
    "same": "the adapter gives an untrained copy the same weights",
    "sites": "an untrained copy has other sites; compare with a run of its own (--untrained)",
    "large": f"a copy is built of models up to {MOST_PARAMETERS:,} parameters, this one has "
    f"{MOST_PARAMETERS + 1:,}; compare with a run of its own (--untrained)",
}


@pytest.mark.parametrize("name", REASONS)
@pytest.mark.usefixtures("loaded")
def test_a_run_without_a_copy_says_why(name: str, tmp_path: Path) -> None:
    """The run does not fail; the line has the reason."""
    run_all(letters(), Setup(f"test-letters:{name}"), tmp_path / "run")
    saved = load_run(tmp_path / "run")
    assert saved.verdict is not None

    assert saved.untrained == Untrained(missing=REASONS[name])
    for network in saved.verdict.networks:
        assert lines_of(network, saved.verdict)[-1] == ("trained", NOT_ASKED, REASONS[name])


def test_a_module_of_the_users_has_no_untrained_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch: imports what is there; the model is made once."""
    (tmp_path / "deeploc_test_wrapped.py").write_text(
        "import torch, deeploc\n"
        "MADE = []\n"
        "def net():\n"
        "    MADE.append(1)\n"
        "    module = torch.nn.Sequential(*(torch.nn.Linear(9, 9) for _ in range(2)))\n"
        "    return deeploc.wrap(module, preprocess=codes, sites=['0', '1'])\n"
        "def codes(texts):\n"
        "    rows = [[ord(c) % 9 for c in f'{t:9.9}'] for t in texts]\n"
        "    return torch.tensor(rows, dtype=torch.float32)[:, None]\n"
    )
    monkeypatch.chdir(tmp_path)
    contrast = letters(read={"sites": ["block"], "pool": "mean"})
    saved = localized(contrast, tmp_path / "run", Setup("torch:deeploc_test_wrapped:net"))
    assert saved.untrained is not None
    assert saved.untrained.missing is not None

    assert "cannot be loaded untrained: only its author knows" in saved.untrained.missing
    assert sys.modules["deeploc_test_wrapped"].MADE == [1]


def test_what_failed_is_tried_again(loaded: list[bool], tmp_path: Path) -> None:
    """With more memory there is a copy, though nothing else changed, and the verdict follows."""
    answers = []
    for attempt in range(4):
        if attempt == 2:
            (tmp_path / "enough").touch()
        run_all(letters(), Setup("test-letters:sometimes"), tmp_path / "run")
        made = load_run(tmp_path / "run").verdict
        assert made is not None
        answers.append(made.networks[0].answer("trained"))

    assert answers == ["not asked", "not asked", "yes", "yes"]
    assert loaded == [False, True, False, True, False, True, False]


def test_a_bug_of_an_adapter_is_not_hidden(loaded: list[bool], tmp_path: Path) -> None:
    """Only what deeploc raises on purpose, and missing memory, become a reason."""
    with pytest.raises(TypeError):
        run_all(letters(), Setup("test-letters:unread"), tmp_path / "run")
    assert loaded == [False, True]


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["untrained"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda r: r.pop("kinds"), "untrained.kinds"),
        (lambda r: r["kinds"][0].pop("halves"), "untrained.kinds.0.halves"),
        (lambda r: r["kinds"][0].update(n_selected="2"), "untrained.kinds.0.n_selected"),
        (lambda r: r["kinds"][0].update(more=1), "untrained.kinds.0.more"),
        (lambda r: r["kinds"][1]["preference"].update(df=0), "untrained.kinds.1.preference.df"),
        (lambda r: r["kinds"][1]["halves"].update(chance=1e308), "untrained.kinds.1.halves.chance"),
        (lambda r: r.update(missing=3), "untrained.missing"),
    ],
)
@pytest.mark.usefixtures("loaded")
def test_a_damaged_record_is_one_line(
    change: Callable[[dict[str, Any]], Any], place: str, tmp_path: Path
) -> None:
    """The message names the place in the manifest."""
    localize_run(letters(), Setup("test-letters:x"), tmp_path / "run")
    edited(tmp_path / "run", change)

    with pytest.raises(RunError, match=rf"manifest\.json is damaged: {place}: ") as error:
        load_run(tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("loaded")
def test_commands_show_it(tmp_path: Path) -> None:
    """The last line of each network, in JSON beside the reliability, and in the report."""
    path = tmp_path / "letters.yaml"
    path.write_text(json.dumps(letters().to_json()))
    command = ["run", str(path), "-m", "test-letters:x", "-o", str(tmp_path / "run"), "-q"]
    shown = CliRunner().invoke(main, command)
    plain = CliRunner().invoke(main, [*command, "--json"])
    off = CliRunner().invoke(main, [*command, "--set", "verdict.untrained=false"])
    localize = CliRunner().invoke(main, ["localize", *command[1:]])

    assert shown.exit_code == 0, shown.output
    assert shown.output.count("  trained    yes     untrained copy: held-out d = ") == 2
    assert [kind["sites"] for kind in json.loads(plain.output)["untrained"]["kinds"]] == [
        "mlp-neurons",
        "block",
    ]
    assert (
        off.output.count(f"  trained    {NOT_ASKED}       switched off (verdict.untrained: false)")
        == 2
    )
    assert localize.output.count("untrained copy: held-out d = ") == 2
