"""The response profile against brute force: every activation kept, plain NumPy and SciPy."""

import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from deeploc import plugins
from deeploc.analysis.group_means import unit_scale
from deeploc.analysis.localization import layout_of, localize
from deeploc.analysis.planning import plan
from deeploc.analysis.profile import profile
from deeploc.analysis.select_units import select_units
from deeploc.contrast.model import Contrast, load
from deeploc.core.adapter import Adapter, Batch, ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.responses import Preference, Profile, Response, to_csv
from deeploc.core.units import Layout, StatMap, UnitMask
from deeploc.errors import RunError
from deeploc.experiment import Run, evaluate_run, localize_run, open_run
from deeploc.runs.manifest import Setup
from deeploc.stimuli import Stimulus, sample_stimuli
from deeploc.testing import ToyAdapter

from .conftest import REAL, UNREAL
from .test_localization import Wide, contrast
from .test_report import seal

WEIGHTS = (1.0, -0.5, -0.5)
Matrices = dict[str, np.ndarray]
Halves = tuple[Mapping[str, Sequence[Stimulus]], Mapping[str, Sequence[Stimulus]]]


def responses_of(adapter: Adapter, declared: Contrast, stimuli: Any) -> Matrices:
    """Return every activation, one stimulus at a time, as the contrast reads it."""
    layout = layout_of(adapter, declared)
    result = {
        name: np.concatenate(
            [
                batch.values.astype(float)
                for stimulus in group
                for batch in adapter.activations([stimulus], layout, Readout.of(declared.read))
            ]
        )
        for name, group in stimuli.items()
    }
    return {n: np.abs(x) for n, x in result.items()} if declared.read.response == "abs" else result


def groups_of(declared: Contrast, stat_map: StatMap, mask: UnitMask, kind: str) -> Matrices:
    """Return which units each group holds; the random ones are those of the control random-0."""
    ablate = declared.ablate.model_copy(update={"percent": None})
    cells = plan(stat_map, mask, ablate, seed=0).cells
    (cell,) = (c for c in cells if (c.sites, c.mask) == (kind, "random-0"))
    control = cells[cell]
    assert control is not None
    return {
        "selected": mask.of_kind(kind).selected,
        "random": control.mask.selected,
        "all": mask.layout.of_kind(kind),
    }


def brute_force(
    declared: Contrast, localizing: Matrices, held_out: Matrices, groups: Matrices
) -> dict[tuple[str, str], list[float]]:
    """Return (condition, units) -> response, its interval, z, its interval."""
    pooled = np.concatenate(list(localizing.values()))
    mean, sd = pooled.mean(axis=0), pooled.std(axis=0, ddof=1)
    expected = {}
    for condition in declared.conditions:
        for units, chosen in groups.items():
            x = held_out[condition]
            scaled = chosen & (sd > 1e-12)
            z = ((x - mean)[:, scaled] / sd[scaled]).mean(axis=1)
            values = []
            for means in (x[:, chosen].mean(axis=1), z):
                ends = reference.t.interval(
                    0.95, len(means) - 1, means.mean(), reference.sem(means)
                )
                values += [means.mean(), *ends]
            expected[condition, units] = values
    return expected


def check(adapter: Adapter, declared: Contrast, halves: Halves) -> Profile:
    """Compare the profile with brute force at every kind of site; return it."""
    localizing, held_out = halves
    stat_map = localize(adapter, declared, localizing)
    mask = select_units(stat_map, declared.select)
    counts = {name: len(group) for name, group in localizing.items()}
    result = profile(adapter, declared, stat_map, mask, held_out, counts=counts)
    first, second = (responses_of(adapter, declared, half) for half in halves)
    for kind in mask.layout.kinds:
        groups = groups_of(declared, stat_map, mask, kind)
        expected = brute_force(declared, first, second, groups)
        rows = [row for row in result.responses if row.sites == kind]
        assert [(row.condition, row.units) for row in rows] == [
            (condition, units) for units in groups for condition in declared.conditions
        ]
        for row in rows:
            assert row.n == len(held_out[row.condition])
            np.testing.assert_allclose(
                [row.response, row.ci_low, row.ci_high, row.z, row.z_low, row.z_high],
                expected[row.condition, row.units],
                rtol=1e-6,
                atol=1e-6,
            )
    return result


def halves_of(declared: Contrast, limit: int | None = None) -> Halves:
    return sample_stimuli(declared, seed=0, limit=limit).halves


@pytest.fixture(scope="module")
def words() -> dict[str, Any]:
    """Return a contrast of texts with a third condition that is outside the comparison."""
    rng = np.random.default_rng(5)
    kinds = {"sentences": REAL, "lists": UNREAL, "mixed": REAL + UNREAL}
    return {
        "name": "words",
        "title": "Words > non-words",
        "modality": "text",
        "source": "made up for the tests",
        "conditions": {
            name: {"texts": [" ".join(rng.permutation(words)[: 3 + i % 3]) for i in range(11)]}
            for name, words in kinds.items()
        },
        "contrast": "sentences > lists",
        "select": {"percent": 10},
    }


@pytest.fixture(scope="module")
def cnn() -> Adapter:
    return plugins.load_model("reference:cnn", ModelOptions(device="cpu"))


@pytest.mark.parametrize("split", ["half", "none"])
@pytest.mark.parametrize("response", ["abs", "signed"])
@pytest.mark.parametrize("pool", ["last", "mean"])
def test_texts_equal_brute_force(
    tiny_lm: Path, words: dict[str, Any], pool: str, response: str, split: str
) -> None:
    """Two kinds of site, three conditions, every group of units, raw and z with intervals."""
    read = {"sites": ["mlp-neurons", "block"], "pool": pool, "response": response}
    declared = Contrast.model_validate({**words, "read": read, "split": split})
    result = check(plugins.load_model(f"hf:{tiny_lm}"), declared, halves_of(declared))

    assert result.held_out == (split == "half")


@pytest.mark.parametrize(
    ("pool", "response", "split"), [("mean", "abs", "half"), ("none", "signed", "none")]
)
def test_images_equal_brute_force(cnn: Adapter, pool: str, response: str, split: str) -> None:
    """Six conditions; with pool none a unit is one position of a channel."""
    changes = [f"read.pool={pool}", f"read.response={response}", f"split={split}"]
    declared = load("faces-rendered", [*changes, "select.percent=5", "read.sites=[conv, layer4.1]"])

    check(cnn, declared, halves_of(declared, limit=6))


def test_scale_is_that_of_all_localizing_stimuli(tiny_lm: Path, words: dict[str, Any]) -> None:
    """Mean and sd from the moments of three unequal conditions are NumPy's on all of them."""
    declared = Contrast.model_validate({**words, "read": {"sites": "block", "response": "abs"}})
    adapter = plugins.load_model(f"hf:{tiny_lm}")
    stimuli = {n: group[: 3 + i] for i, (n, group) in enumerate(halves_of(declared)[0].items())}
    mean, sd = unit_scale(
        localize(adapter, declared, stimuli), {n: len(g) for n, g in stimuli.items()}
    )
    pooled = np.concatenate(list(responses_of(adapter, declared, stimuli).values()))

    np.testing.assert_allclose(mean, pooled.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(sd, pooled.std(axis=0, ddof=1), rtol=1e-6)


def letters(declared: Any, **changes: Any) -> Contrast:
    """Return a contrast of 3 x 14 texts that differ in how often each letter comes; half split."""
    rng = np.random.default_rng(0)
    texts = {
        name: {
            "texts": [
                "".join(rng.choice([*(8 * name), *ascii_lowercase], 9 + i % 4)) for i in range(14)
            ]
        }
        for name in "abc"
    }
    plain = {"conditions": texts, "select": {"percent": 8}, "split": "half"}
    return contrast(declared, **{**plain, **changes})


def toy(declared: Contrast) -> tuple[Adapter, StatMap, UnitMask, Halves]:
    adapter, halves = ToyAdapter(), halves_of(declared)
    stat_map = localize(adapter, declared, halves[0])
    return adapter, stat_map, select_units(stat_map, declared.select), halves


def profile_of(declared: Contrast, adapter: Adapter | None = None, seed: int = 0) -> Profile:
    plain, stat_map, mask, (localizing, held_out) = toy(declared)
    counts = {name: len(group) for name, group in localizing.items()}
    return profile(adapter or plain, declared, stat_map, mask, held_out, counts=counts, seed=seed)


def z_of(declared: Contrast, units: str = "selected") -> Matrices:
    """Return by hand the mean z per held-out stimulus of some block units of the toy model."""
    adapter, stat_map, mask, halves = toy(declared)
    first, second = (responses_of(adapter, declared, half) for half in halves)
    pooled = np.concatenate(list(first.values()))
    chosen = groups_of(declared, stat_map, mask, "block")[units] & (pooled.std(axis=0) > 0)
    scale = pooled[:, chosen].mean(axis=0), pooled[:, chosen].std(axis=0, ddof=1)
    return {n: ((x[:, chosen] - scale[0]) / scale[1]).mean(axis=1) for n, x in second.items()}


@pytest.mark.parametrize("units", ["selected", "random", "all"])
def test_the_held_out_effect_is_scipys_welch(units: Any) -> None:
    """t, df and p are those of the mean z per stimulus; d is in pooled standard deviations."""
    declared = letters("a > b")
    z, result = z_of(declared, units), profile_of(declared).preference("block", units)
    expected = reference.ttest_ind(z["a"], z["b"], equal_var=False)
    weights = [len(z[c]) - 1 for c in "ab"]
    variance = np.average([z[c].var(ddof=1) for c in "ab"], weights=weights)

    np.testing.assert_allclose(
        [result.t, result.df, result.p],
        [expected.statistic, expected.df, expected.pvalue],
        rtol=1e-9,
    )
    assert result.d == pytest.approx((z["a"].mean() - z["b"].mean()) / np.sqrt(variance))


def test_a_conjunction_takes_the_smallest_t() -> None:
    """As in the localization: the comparison in which the units do worst."""
    declared = letters("a > b, c", against="each")
    z, result = z_of(declared), profile_of(declared).preference("block", "selected")
    pairs = [reference.ttest_ind(z["a"], z[c], equal_var=False) for c in "bc"]

    assert result.t == pytest.approx(min(pair.statistic for pair in pairs))


def test_weights_are_those_of_the_contrast() -> None:
    """{a: 1, b: -0.5, c: -0.5} is tested as weighted means."""
    declared = letters(dict(zip("abc", WEIGHTS, strict=True)))
    z, result = z_of(declared), profile_of(declared).preference("block", "selected")
    effect = z["a"].mean() - (z["b"].mean() + z["c"].mean()) / 2
    error = sum(w**2 * z[c].var(ddof=1) / len(z[c]) for c, w in zip("abc", WEIGHTS, strict=True))

    assert result.t == pytest.approx(effect / np.sqrt(error))


def test_the_largest_unit_does_not_decide_z() -> None:
    """A unit made a thousand times larger changes the raw response and leaves z as it is."""

    class Massive(ToyAdapter):
        def activations(
            self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
        ) -> Iterator[Batch]:
            for batch in super().activations(stimuli, layout, readout):
                yield Batch(batch.indices, batch.values * np.where(np.arange(52) == 0, 1000, 1))

    declared = letters("a > b")
    _, _, mask, (localizing, held_out) = toy(declared)
    assert mask.selected[0]  # the letter a
    counts = {name: len(group) for name, group in localizing.items()}
    massive = Massive()
    large = profile(
        massive, declared, localize(massive, declared, localizing), mask, held_out, counts=counts
    )
    plain = profile_of(declared)

    np.testing.assert_allclose(
        [row.z for row in large.of("block", "selected")],
        [row.z for row in plain.of("block", "selected")],
    )
    assert (
        large.of("block", "selected")[0].response > 100 * plain.of("block", "selected")[0].response
    )


class Broken(ToyAdapter):
    """The toy model with one activation of one stimulus that is no number."""

    def __init__(self, unit: int, value: float) -> None:
        super().__init__()
        self._broken = unit, value

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        unit, value = self._broken
        for batch in super().activations(stimuli, layout, readout):
            values = batch.values.copy()
            values[np.flatnonzero(batch.indices == 0), unit] = value
            yield Batch(batch.indices, values)


@pytest.mark.parametrize("value", [nan, np.inf, -np.inf])
def test_what_is_not_finite_is_nan_where_it_counts(value: float) -> None:
    """A broken selected unit makes its condition nan, and the test; nothing else."""
    declared = letters("a > b")
    result = profile_of(declared, Broken(0, value))
    values = {
        row.condition: (row.response, row.z, row.ci_low) for row in result.of("block", "selected")
    }

    assert all(map(isnan, values["a"]))
    assert not any(map(isnan, values["b"] + values["c"]))
    assert isnan(result.preference("block", "selected").t)
    assert not result.preference("block", "selected").holds
    assert not isnan(result.preference("mlp-neurons", "selected").t)
    assert '"t": null' in str(result.to_json()).replace("'", '"').replace("None", "null")


def test_no_selected_unit_has_no_response() -> None:
    """Where a threshold selects nothing the table says nan, and all units are still told."""
    declared = letters("a > b", select={"fdr": 1e-30})
    result = profile_of(declared)

    assert all(isnan(row.response) and isnan(row.z) for row in result.of("block", "selected"))
    assert not any(isnan(row.response) for row in result.of("block", "all"))


def test_one_held_out_stimulus_has_no_interval() -> None:
    """A mean of one is told; its interval and a test need two."""
    declared = letters("a > b")
    adapter, stat_map, mask, (localizing, held_out) = toy(declared)
    counts = {name: len(group) for name, group in localizing.items()}
    ones = {name: group[:1] for name, group in held_out.items()}
    result = profile(adapter, declared, stat_map, mask, ones, counts=counts)
    first = result.of("block", "selected")[0]

    assert not isnan(first.z)
    assert isnan(first.z_low)
    assert isnan(result.preference("block", "selected").t)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batches_do_not_matter(batch_size: int) -> None:
    """The same profile whatever the batches, also where one holds several conditions."""
    declared = letters("a > b")
    result, expected = profile_of(declared, ToyAdapter(batch_size)), profile_of(declared)

    np.testing.assert_allclose(
        [row.z_high for row in result.responses], [row.z_high for row in expected.responses]
    )


def test_memory_does_not_grow_with_the_number_of_stimuli() -> None:
    """Ten times the stimuli raise the peak by less than 5 %: no activation is kept."""
    declared = contrast("a > b", read={"sites": "block"})
    few = {c: [Stimulus(f"{c}:{i}", "a") for i in range(40)] for c in "abc"}
    stat_map = localize(Wide(), declared, few)
    mask = select_units(stat_map, declared.select)

    def peak(n: int) -> int:
        stimuli = {c: [Stimulus(f"{c}:{i}", "a") for i in range(n)] for c in "abc"}
        tracemalloc.start()
        profile(Wide(), declared, stat_map, mask, stimuli, counts=dict.fromkeys("abc", 40))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(400) < 1.05 * peak(40)


def test_a_table_reads_back_unchanged() -> None:
    """Every digit, nan included, and the tests with it."""
    declared = letters("a > b")
    result = profile_of(declared, Broken(0, nan))
    back = Profile.from_json(result.to_json(), to_csv(result.responses))

    assert repr(back.responses) == repr(result.responses)
    assert repr(back.preferences) == repr(result.preferences)
    assert back.held_out


def test_the_table_has_the_documented_columns() -> None:
    """One row per kind, units and condition."""
    row = Response("block", "a", "all", 3, 1.0, 0.5, 1.5, 0.1, 0.0, 0.2)

    assert to_csv([row]) == (
        "sites,condition,units,n,response,ci_low,ci_high,z,z_low,z_high\n"
        "block,a,all,3,1.0,0.5,1.5,0.1,0.0,0.2\n"
    )


@pytest.mark.parametrize(
    ("t", "p", "holds"), [(3.0, 0.01, True), (-3.0, 0.01, False), (1.0, 0.3, False)]
)
def test_a_preference_holds_in_one_direction(t: float, p: float, holds: bool) -> None:
    """A significant preference for the other side is not the one that was selected for."""
    assert Preference("block", "selected", t, 10.0, p, 1.0).holds == holds


@pytest.fixture
def localized(tiny_lm: Path, contrast_file: Path, tmp_path: Path) -> Run:
    setup = Setup(f"hf:{tiny_lm}", ModelOptions(device="cpu"))
    return localize_run(load(contrast_file), setup, tmp_path / "run")


def written(run: Run) -> int:
    """Return when profile.csv was written."""
    return run.folder.profile.stat().st_mtime_ns


def test_a_localization_writes_it(localized: Run) -> None:
    """The table is in the folder, the held-out effect in the manifest."""
    result = localized.folder.read_profile()
    reported = json.loads(localized.folder.manifest.read_text())["profile"]

    assert result is not None
    assert len(result.responses) == 2 * 3 * 2
    assert {row.n for row in result.responses} == {6}
    assert reported["held_out"]
    assert [(e["sites"], e["units"]) for e in reported["effects"]][:2] == [
        ("mlp-neurons", "selected"),
        ("mlp-neurons", "random"),
    ]


def test_what_is_current_is_kept(localized: Run) -> None:
    """The same localization again measures nothing; nor does an evaluation."""
    before = written(localized)
    again = localize_run(localized.contrast, localized.setup, localized.folder.path)
    evaluate_run(open_run(localized.folder.path))

    assert written(localized) == before
    assert again.folder.read_manifest().profile.effects


@pytest.mark.parametrize("change", ["select.percent=20", "evaluate=[]", "missing", "edited"])
def test_what_changed_is_measured_anew(localized: Run, change: str) -> None:
    """Other units, a lost or an edited table give a new profile; other tasks do not."""
    before, text = written(localized), localized.folder.profile.read_text()
    changes = [change] if "=" in change else []
    if change == "missing":
        localized.folder.profile.unlink()
    elif change == "edited":
        localized.folder.profile.write_text(text.replace(",6,", ",7,"))
    contrast = localized.contrast.with_changes(changes)
    localize_run(contrast, localized.setup, localized.folder.path)

    assert (written(localized) == before) == (change == "evaluate=[]")
    assert (localized.folder.profile.read_text() == text) == (change != "select.percent=20")


def test_other_held_out_stimuli_are_measured_anew(localized: Run, contrast_file: Path) -> None:
    """A text that did not localize is changed: the statistics are reused, the profile is not."""
    held_out = localized.stimuli.held_out["sentences"][0].content
    sentences = contrast_file.parent / "sentences.txt"
    texts = sentences.read_text().splitlines()
    sentences.write_text("\n".join("the cat" if text == held_out else text for text in texts))
    before = localized.folder.profile.read_text()
    statistics = localized.folder.statmap.stat().st_mtime_ns
    localize_run(load(contrast_file), localized.setup, localized.folder.path)

    assert localized.folder.statmap.stat().st_mtime_ns == statistics
    assert localized.folder.profile.read_text() != before


def test_without_a_split_nothing_is_held_out(localized: Run) -> None:
    """All stimuli are profiled, and the manifest says that they are those that localized."""
    declared = localized.contrast.with_changes(["split=none"])
    run = localize_run(declared, localized.setup, localized.folder.path, overwrite=True)
    result = run.folder.read_profile()

    assert result is not None
    assert not result.held_out
    assert {row.n for row in result.responses} == {12}


def test_a_run_without_a_profile_is_read(localized: Run) -> None:
    """One that was interrupted has none."""
    manifest = localized.folder.read_plain_manifest()
    localized.folder.write_manifest({k: v for k, v in manifest.items() if k != "profile"})

    assert localized.folder.read_profile() is None


@pytest.mark.parametrize("text", ["sites,units\nblock,all\n", "sites,condition,units\na,b,c\n", ""])
def test_a_broken_table_is_told(localized: Run, text: str) -> None:
    """One line that names the file and says what to do."""
    localized.folder.profile.write_text(text)
    seal(localized.folder.path)

    with pytest.raises(RunError, match=r"profile\.csv is broken: .*; delete it and localize again"):
        localized.folder.read_profile()
