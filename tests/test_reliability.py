"""Halves, folds and permutations of the localizing stimuli against plain NumPy and SciPy."""

from collections.abc import Iterator, Sequence
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from deeploc.analysis.activation_cache import Readings
from deeploc.analysis.comparing import adjusted, of_responses
from deeploc.analysis.localization import layout_of, localize
from deeploc.analysis.permuting import permuted_t
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.reliability import N_FOLDS, reliability, unknown
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Batch
from deeploc.core.permutation import N_PERMUTATIONS, labelling, partner_labelling
from deeploc.core.readout import Readout
from deeploc.core.resampling import Folds, Halves, KindReliability, Permutations, Reliability
from deeploc.core.selectivity import mann_whitney
from deeploc.core.units import Layout, Site, StatMap
from deeploc.report.text import describe_reliability
from deeploc.runs.saved_run import load_run
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import deal
from deeploc.testing import ToyAdapter

from .test_localization import contrast
from .test_stages import Inputs, contrast_of

LAYOUT = Layout((Site("a", "block", 60), Site("b", "mlp-neurons", 40), Site("c", "block", 20)))
Stimuli = dict[str, list[Stimulus]]


def stimuli_of(**sizes: int) -> Stimuli:
    return {name: [Stimulus(f"{name}:{i}", f"{name} {i}") for i in range(n)]
            for name, n in sizes.items()}  # fmt: skip


def case(
    declared: Contrast, values: np.ndarray, **sizes: int
) -> tuple[StatMap, Stimuli, np.ndarray]:
    """Return the statistics of made-up activations, the stimuli and their owners."""
    stimuli = stimuli_of(**sizes)
    groups = ByCondition.of(list(declared.conditions), stimuli)
    response = np.abs(values) if declared.read.response == "abs" else values
    with np.errstate(invalid="ignore"):
        rows = {name: groups.rows(name) for name in groups.names}
        computed = of_responses(declared, response, rows)
    q = adjusted(LAYOUT, computed.p)
    unused = np.zeros_like(q)
    stat_map = StatMap(LAYOUT, **computed._asdict(), q=q, baseline=unused, magnitude=unused)
    return stat_map, stimuli, groups.owners


def selective(rng: np.random.Generator, owners: np.ndarray, effect: float = 1.0) -> np.ndarray:
    """Return noise in which every tenth unit prefers the first condition."""
    values = rng.normal(size=(len(owners), LAYOUT.n_units))
    values[owners == 0, ::10] += effect
    return values * 10.0 ** rng.uniform(-2, 2, LAYOUT.n_units) + 5


def welch(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    t: np.ndarray = reference.ttest_ind(values[first], values[second], equal_var=False).statistic
    return t


def folds_of(stimuli: Stimuli, n: int, seed: int) -> np.ndarray:
    keys = {name: [stimulus.content_key for stimulus in group] for name, group in stimuli.items()}
    return np.concatenate([deal(keys[name], n, seed, f"{n}:{name}") for name in stimuli])


def top(t: np.ndarray, kind: str, share: float) -> set[int]:
    among = np.flatnonzero(LAYOUT.of_kind(kind))
    ranked = among[np.argsort(-t[among], kind="stable")]
    return set(ranked[: int(share * len(among))].tolist())


def test_halves_and_folds_by_brute_force(rng: np.random.Generator) -> None:
    """r and overlap of two t maps of SciPy, and Cohen's d of z on what did not select."""
    declared = contrast("a > b", select={"percent": 10})
    owners = np.repeat([0, 1, 2], [15, 21, 4])
    values = selective(rng, owners)
    stat_map, stimuli, _ = case(declared, values, a=15, b=21, c=4)
    computed = reliability(declared, stat_map, stimuli, values, seed=3)
    halves, folds = folds_of(stimuli, 2, 3), folds_of(stimuli, N_FOLDS, 3)
    first, second = (welch(values, (halves == h) & (owners == 0), (halves == h) & (owners == 1))
                     for h in (0, 1))  # fmt: skip

    assert computed.missing == {}
    for kind in LAYOUT.kinds:
        among = LAYOUT.of_kind(kind)
        made = computed.of(kind)
        assert made.halves
        assert made.folds
        chosen = top(first, kind, 0.1), top(second, kind, 0.1)
        k = len(chosen[0])
        assert made.halves.r == pytest.approx(np.corrcoef(first[among], second[among])[0, 1])
        assert made.halves.overlap == pytest.approx(len(chosen[0] & chosen[1]) / k)
        assert made.halves.chance == pytest.approx(k / among.sum())
        expected = []
        for fold in range(N_FOLDS):
            inside, outside = folds == fold, folds != fold
            t = welch(values, outside & (owners == 0), outside & (owners == 1))
            units = sorted(top(t, kind, 0.1))
            x = values[:, units]
            z = ((x - x[outside].mean(0)) / x[outside].std(0, ddof=1)).mean(1)
            a, b = z[inside & (owners == 0)], z[inside & (owners == 1)]
            within = (len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)
            expected.append((a.mean() - b.mean()) / np.sqrt(within / (len(a) + len(b) - 2)))
        np.testing.assert_allclose(made.folds.d, expected, rtol=1e-6)
        assert made.folds.mean == pytest.approx(np.mean(expected))


def test_clear_units_are_found_again_and_noise_is_not(rng: np.random.Generator) -> None:
    """Twelve units of large effect are the same in both halves; without an effect it is chance."""
    declared = contrast("a > b", select={"percent": 10}, read={"sites": ["block"]})
    owners = np.repeat([0, 1, 2], [30, 30, 4])
    computed = {}
    for effect in (9.0, 0.0):
        values = selective(rng, owners, effect)
        stat_map, stimuli, _ = case(declared, values, a=30, b=30, c=4)
        computed[effect] = reliability(declared, stat_map, stimuli, values)

    for kind in computed[9.0].kinds:
        assert kind.halves
        assert kind.folds
        assert kind.permutations
        assert kind.halves.overlap == 1.0
        assert min(kind.folds.d) > 5
        assert kind.permutations.n_above == LAYOUT.of_kind(kind.sites).sum() / 10
    for kind in computed[0.0].kinds:
        assert kind.halves
        assert kind.folds
        assert kind.permutations
        n = int(LAYOUT.of_kind(kind.sites).sum())
        most = reference.hypergeom.ppf(0.999, n, n // 10, n // 10)
        assert kind.halves.overlap * (n // 10) <= most
        # each d is of 6 and 6 stimuli: its sd is sqrt(1 / 6 + 1 / 6), that of the mean of 5 less
        assert abs(kind.folds.mean) < 4 * np.sqrt(1 / 3 / 5)
        assert kind.permutations.n_above == 0


@pytest.mark.parametrize(
    ("declared", "against", "response", "statistic"),
    [
        ("a > b", "pooled", "signed", "welch"),
        ("a > b, c", "pooled", "abs", "welch"),
        ("a > b, c", "each", "signed", "welch"),
        ("a, b > c", "pooled", "signed", "welch"),
        ({"a": 1, "b": -0.25, "c": -0.75}, "pooled", "abs", "welch"),
        ("a > b", "pooled", "signed", "paired"),
        ("a > b, c", "each", "abs", "paired"),
        ("a, b > c", "pooled", "signed", "mann-whitney"),
        ("a > b", "pooled", "abs", "mann-whitney"),
        ("a > b, c", "pooled", "signed", "d-prime"),
        ("a > b, c", "each", "abs", "d-prime"),
        ("a > b, c", "each", "abs", "selectivity-index"),
        ("a, b > c", "pooled", "signed", "selectivity-index"),
    ],
)
def test_permutations_by_brute_force(
    rng: np.random.Generator, declared: Any, against: str, response: str, statistic: str
) -> None:
    """Each of the 1,000 labellings localized on its own: threshold, p and number of units."""
    read = {"sites": ["block"], "response": response}
    made = contrast(declared, against=against, read=read, statistic=statistic)
    sizes = {"a": 6, "b": 6, "c": 6} if statistic == "paired" else {"a": 5, "b": 4, "c": 8}
    values = rng.normal(size=(sum(sizes.values()), LAYOUT.n_units)) + 0.3
    values[:5, ::10] += 1.5
    stat_map, stimuli, _ = case(made, values, **sizes)
    computed = reliability(made, stat_map, stimuli, values, seed=2)
    null = np.stack([permuted_t(made, stimuli, values, i, seed=2) for i in range(N_PERMUTATIONS)])

    for kind in LAYOUT.kinds:
        among = LAYOUT.of_kind(kind)
        largest = np.sort(null[:, among].max(axis=1))
        t = stat_map.t[among]
        above = [
            (1 + sum(largest >= value - 1.2e-5 * abs(value))) / (1 + len(largest)) for value in t
        ]
        part = computed.of(kind).permutations
        assert part is not None
        assert (part.n, part.t) == (N_PERMUTATIONS, t.max())
        assert part.p == min(above)
        assert part.n_above == sum(p <= 0.05 for p in above)
        assert part.threshold == pytest.approx(largest[-50])


def test_one_order_of_the_partners_is_scipys_test(rng: np.random.Generator) -> None:
    """Paired t with the signs of some differences turned around, by the seed and the number."""
    declared = contrast("a > b", statistic="paired")
    values = rng.normal(size=(67, LAYOUT.n_units))
    stimuli = stimuli_of(a=30, b=30, c=7)
    for index in (0, 999):
        signs = np.where(partner_labelling(30, 2, index, 4)[:, 0] == 0, 1, -1)[:, None]
        expected = reference.ttest_1samp(signs * (values[:30] - values[30:60]), 0).statistic
        computed = permuted_t(declared, stimuli, values, index, seed=4)

        np.testing.assert_allclose(computed, expected, rtol=1e-12)


@pytest.mark.parametrize("statistic", ["paired", "mann-whitney", "d-prime", "selectivity-index"])
def test_halves_use_the_statistic(rng: np.random.Generator, statistic: str) -> None:
    """r is that of the statistic in either half; partners are in one half."""
    declared = contrast("a > b", select={"percent": 10}, statistic=statistic)
    values = selective(rng, np.repeat([0, 1, 2], [16, 16, 4]))
    stat_map, stimuli, _ = case(declared, values, a=16, b=16, c=4)
    computed = reliability(declared, stat_map, stimuli, values, seed=3)
    fold = {name: np.array(deal([s.content_key for s in stimuli[name]], 2, 3, f"2:{name}"))
            for name in "ab"}  # fmt: skip
    if statistic == "paired":
        fold["b"] = fold["a"]
    halves = []
    for half in (0, 1):
        rows = {"a": np.flatnonzero(fold["a"] == half), "b": 16 + np.flatnonzero(fold["b"] == half)}
        halves.append(of_responses(declared, values, rows).t)

    for kind in LAYOUT.kinds:
        among = LAYOUT.of_kind(kind)
        part = computed.of(kind).halves
        assert part is not None
        assert part.r == pytest.approx(np.corrcoef(*[t[among] for t in halves])[0, 1])
        assert computed.of(kind).folds is not None


def test_ranks_against_each_condition_have_no_permutations(rng: np.random.Generator) -> None:
    """The ranks of each pair depend on the labels: said in one line, and the rest is computed."""
    declared = contrast("a > b, c", against="each", statistic="mann-whitney")
    values = rng.normal(size=(24, LAYOUT.n_units))
    stat_map, stimuli, _ = case(declared, values, a=8, b=8, c=8)
    computed = reliability(declared, stat_map, stimuli, values)

    assert list(computed.missing) == ["permutations"]
    assert computed.missing["permutations"].startswith("a rank test against each of several cond")
    assert all(kind.halves and kind.permutations is None for kind in computed.kinds)
    relabelled = permuted_t(declared, stimuli, values, 7, seed=1)
    labels = labelling(np.repeat([0, 1, 2], 8), 7, 1)
    z = [mann_whitney(values[labels == 0], values[labels == k]).z for k in (1, 2)]
    np.testing.assert_array_equal(relabelled, np.min(z, axis=0))


def test_one_permutation_is_scipys_test_of_the_relabelled(rng: np.random.Generator) -> None:
    """The labels are those of `labelling`; a condition outside the comparison keeps its own."""
    declared = contrast("a > b")
    values = rng.normal(size=(70, LAYOUT.n_units))
    stimuli = stimuli_of(a=30, b=33, c=7)
    for index in (0, 5, 999):
        labels = labelling(np.repeat([0, 1], [30, 33]), index, 4)
        rows = np.arange(63)
        expected = welch(values, rows[labels == 0], rows[labels == 1])
        computed = permuted_t(declared, stimuli, values, index, seed=4)

        np.testing.assert_allclose(computed, expected, rtol=1e-12)


def test_too_few_stimuli_are_no_error(rng: np.random.Generator) -> None:
    """With three of a condition there are no halves; permutations of two need no more."""
    declared = contrast("a > b")
    values = rng.normal(size=(12, LAYOUT.n_units))
    stat_map, stimuli, _ = case(declared, values, a=3, b=5, c=4)
    computed = reliability(declared, stat_map, stimuli, values)

    reason = "2 folds need 2 stimuli each of condition 'a', which has 3 different ones to localize"
    assert {part: text.startswith(reason) for part, text in computed.missing.items()} == {
        "halves": True,
        "folds": True,
    }
    for kind in computed.kinds:
        assert (kind.halves, kind.folds) == (None, None)
        assert kind.permutations is not None


def test_equal_stimuli_are_never_on_both_sides(rng: np.random.Generator) -> None:
    """Ten stimuli that are two texts cannot be split in five; four different ones can in two."""
    declared = contrast("a > b")
    values = rng.normal(size=(24, LAYOUT.n_units))
    stat_map, stimuli, _ = case(declared, values, a=10, b=10, c=4)
    stimuli["a"] = [Stimulus(f"a:{i}", f"text {i % 4}") for i in range(10)]
    computed = reliability(declared, stat_map, stimuli, values)

    assert list(computed.missing) == ["folds"]
    assert (
        "5 folds need 2 stimuli each of condition 'a', which has 4 diff"
        in computed.missing["folds"]
    )
    assert all(kind.halves for kind in computed.kinds)


def test_units_without_a_value_have_no_reliability(rng: np.random.Generator) -> None:
    """A kind of site that is not finite throughout: nan, and the other kind is as without it."""
    declared = contrast("a > b", select={"percent": 10})
    values = rng.normal(size=(24, LAYOUT.n_units))
    stat_map, stimuli, _ = case(declared, values, a=10, b=10, c=4)
    whole = reliability(declared, stat_map, stimuli, values)
    values[3, LAYOUT.of_kind("mlp-neurons")] = np.inf
    stat_map, _, _ = case(declared, values, a=10, b=10, c=4)
    computed = reliability(declared, stat_map, stimuli, values)

    assert computed.of("block") == whole.of("block")
    part = computed.of("mlp-neurons")
    assert part.halves
    assert part.folds
    assert part.permutations
    assert isnan(part.halves.r)
    assert isnan(part.folds.mean)
    assert (part.permutations.n_above, isnan(part.permutations.p)) == (0, True)


def test_results_read_back_as_they_were() -> None:
    """nan is null in JSON; what is missing stays missing."""
    full = KindReliability(
        "block", Halves(0.5, nan, 0.1), Folds((1.5, nan)), Permutations(9, 3.5, 0.1, nan, 0)
    )
    computed = Reliability([full, KindReliability("conv")], {"folds": "too few"})
    again = Reliability.from_json(computed.to_json())

    assert repr(again) == repr(computed)
    assert computed.to_json()["kinds"][0]["folds"] == {"d": [1.5, None]}


@pytest.mark.parametrize("kind", ["mlp-neurons", "block"])
def test_the_console_prints_two_lines_of_80_columns(kind: str) -> None:
    """Also with long numbers, and with dashes where nothing was computed."""
    long = KindReliability(
        kind,
        Halves(-0.123, 0.456, 0.012),
        Folds((-12.3,) * 5),
        Permutations(1000, 25.0, 1 / 1001, 12.345, 99_999),
    )
    lines = describe_reliability(Reliability([long]), kind)
    empty = describe_reliability(Reliability([]), kind)

    assert max(map(len, lines)) <= 80
    assert lines[1].replace("\N{MINUS SIGN}", "-") == (
        "  held out d = -12.3 (5 folds); 99,999 units above permuted t = 12.3, p = 0.001"
    )
    assert [line.replace("\N{EN DASH}", "?") for line in empty] == [
        f"{kind}: split halves share ?",
        "  held out d = ?; ?",
    ]


class Counted(ToyAdapter):
    """Counts the stimuli that it is asked to read."""

    read = 0

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        self.read += len(stimuli)
        return super().activations(stimuli, layout, readout)


@pytest.mark.parametrize("memory", [10**6, 0])
def test_activations_are_read_once_wherever_they_are_kept(memory: int) -> None:
    """In memory or in a file: statistics and matrix from one reading, with the same numbers."""
    adapter, declared = Counted(), contrast("a > b")
    stimuli = {n: [Stimulus(t, t) for t in c.texts] for n, c in declared.conditions.items()}
    group = ByCondition.of(list(stimuli), stimuli).stimuli
    readings = Readings(adapter, [group], memory)
    layout, readout = layout_of(adapter, declared), Readout.of(declared.read)
    stat_map = localize(adapter, declared, stimuli, readings=readings)
    values = readings.matrix(group, layout, readout)
    assert values is not None
    (part,) = readings.activations(group[2:4], layout, readout)

    assert adapter.read == len(group)
    assert isinstance(values, np.memmap) == (memory == 0)
    np.testing.assert_array_equal(part.values, values[2:4])
    np.testing.assert_allclose(values[:, layout.of_kind("block")].mean(0),
                               stat_map.baseline[layout.of_kind("block")])  # fmt: skip
    assert readings.matrix(group[1:], layout, readout) is None


def test_what_fits_nowhere_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large for memory and file, or a full disk: None, and the model is read again."""
    adapter, declared = Counted(), contrast("a > b")
    group = [Stimulus(t, t) for t in ("ab", "ba", "cc")]
    layout, readout = layout_of(adapter, declared), Readout.of(declared.read)
    assert Readings(adapter, [group], 0, 0).matrix(group, layout, readout) is None
    assert adapter.read == 0

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("deeploc.analysis.storage._reserve", full)
    readings = Readings(adapter, [group], 0)
    (whole,) = readings.activations(group, layout, readout)
    (part,) = readings.activations(group[:1], layout, readout)
    np.testing.assert_array_equal(part.values, whole.values[:1])
    assert readings.matrix(group, layout, readout) is None


def test_a_run_has_its_reliability(tmp_path: Path) -> None:
    """In the manifest, by `load_run` and in the report; where it is missing, the reason."""
    Inputs(report=True).make(tmp_path / "run")
    run = load_run(tmp_path / "run")
    computed = run.reliability
    assert computed is not None
    assert [kind.sites for kind in computed.kinds] == ["mlp-neurons", "block"]
    assert computed.to_json().items() <= run.manifest["reliability"].items()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "block: split halves share " in page

    few = Inputs(contrast_of(), abc=("abba", "bacab", "cabba"), report=True)
    few.make(tmp_path / "few")
    lacking = load_run(tmp_path / "few").reliability
    assert lacking is not None
    assert list(lacking.missing) == ["halves", "folds"]
    assert (
        "Not computed: halves, folds (2 folds need 2 stimuli each of condition"
        in (tmp_path / "few" / "report.html").read_text()
    )


def test_a_run_whose_activations_are_too_large_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report says what is missing and why."""
    monkeypatch.setattr(Readings, "matrix", lambda *_, **__: None)
    Inputs(report=True).make(tmp_path)
    computed = load_run(tmp_path).reliability

    assert computed is not None
    assert set(computed.missing) == {"halves", "folds", "permutations"}
    assert (
        "0.0 GiB of activations cannot be kept; a temporary file may hold 4 GiB"
        in (tmp_path / "report.html").read_text()
    )


def test_every_part_that_is_missing_is_named(rng: np.random.Generator) -> None:
    """Every part is missing for the same reason."""
    stat_map, _, _ = case(contrast("a > b"), rng.normal(size=(6, LAYOUT.n_units)), a=2, b=2, c=2)
    computed = unknown(stat_map, "too large")

    assert computed.missing == dict.fromkeys(["halves", "folds", "permutations"], "too large")
    assert computed.kinds == [KindReliability("block"), KindReliability("mlp-neurons")]


def test_folds_are_even_and_keep_equal_stimuli_together() -> None:
    """Sizes differ by one at most where all stimuli differ; another seed deals otherwise."""
    group = [f"text {i}" for i in range(23)]
    folds = deal(group, 5, 0, "a")
    repeated = deal([f"text {i % 6}" for i in range(24)], 3, 0, "a")

    assert sorted(np.bincount(folds)) == [4, 4, 5, 5, 5]
    assert folds != deal(group, 5, 1, "a")
    assert folds != deal(group, 5, 0, "b")
    assert repeated == repeated[:6] * 4
    assert np.bincount(repeated).tolist() == [8, 8, 8]
