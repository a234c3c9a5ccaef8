"""The statistic of a contrast, from the file to the StatMap, against SciPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats as reference

from deeploc.analysis.activation_cache import Readings
from deeploc.analysis.localization import localize
from deeploc.analysis.profile import profile
from deeploc.cli import main
from deeploc.contrast.model import Contrast
from deeploc.core.selectivity import mann_whitney
from deeploc.core.units import StatMap, UnitMask
from deeploc.errors import ContrastError
from deeploc.runs.saved_run import load_run
from deeploc.stimuli import Stimulus, load, sample_stimuli, split_half
from deeploc.testing import ToyAdapter

from .test_localization import contrast

ALL = ["welch", "paired", "mann-whitney", "d-prime", "selectivity-index"]
UNITS = slice(0, 5)
"""The letters that occur."""


def texts_of(rng: np.random.Generator, *sizes: int) -> dict[str, list[str]]:
    """Return words of random letters per condition; condition k has more of letter k."""
    words = {}
    for number, (name, size) in enumerate(zip("abc", sizes, strict=False)):
        p = np.ones(5)
        p[number] += 1.5
        draw = [rng.choice(list("abcde"), rng.integers(5, 12), p=p / p.sum()) for _ in range(size)]
        words[name] = ["".join(letters) for letters in draw]
    return words


def made_of(texts: dict[str, list[str]], declared: object = "a > b", **changes: object) -> Contrast:
    conditions = {name: {"texts": group} for name, group in texts.items()}
    read = {"pool": "last", "sites": "block"}
    return contrast(declared, **{"conditions": conditions, "read": read, **changes})


def counts(texts: list[str]) -> np.ndarray:
    return np.array([[text.count(letter) for letter in "abcde"] for text in texts], float)


def expected_of(statistic: str, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    """Return the ranking statistic, df and p by SciPy or by its definition."""
    welch = reference.ttest_ind(x, y, equal_var=False)
    if statistic == "paired":
        test = reference.ttest_rel(x, y)
        return test.statistic, test.df, test.pvalue
    if statistic == "mann-whitney":
        test = reference.mannwhitneyu(x, y, method="asymptotic")
        side = np.sign(test.statistic - len(x) * len(y) / 2)
        return side * reference.norm.isf(test.pvalue / 2), np.inf, test.pvalue
    if statistic == "d-prime":
        rms = np.sqrt((x.var(axis=0, ddof=1) + y.var(axis=0, ddof=1)) / 2)
        return (x.mean(0) - y.mean(0)) / rms, welch.df, welch.pvalue
    if statistic == "selectivity-index":
        a, b = x.mean(axis=0), y.mean(axis=0)
        return (a - b) / (a + b), welch.df, welch.pvalue
    return welch.statistic, welch.df, welch.pvalue


@pytest.mark.parametrize("statistic", ALL)
def test_two_conditions_are_scipys(rng: np.random.Generator, statistic: str) -> None:
    """The ranking statistic, df and p; q is Benjamini and Hochberg's, d is Cohen's."""
    texts = texts_of(rng, 14, 14)
    x, y = counts(texts["a"]), counts(texts["b"])
    computed = localize(ToyAdapter(), made_of(texts, statistic=statistic))
    t, df, p = expected_of(statistic, x, y)
    d = (x.mean(0) - y.mean(0)) / np.sqrt((x.var(0, ddof=1) + y.var(0, ddof=1)) / 2)

    np.testing.assert_allclose(computed.t[UNITS], t, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(computed.df[UNITS], df)
    np.testing.assert_allclose(computed.p[UNITS], p, rtol=1e-9)
    np.testing.assert_allclose(computed.q, reference.false_discovery_control(computed.p))
    np.testing.assert_allclose(computed.d[UNITS], d)
    np.testing.assert_allclose(computed.means["a"][UNITS], x.mean(0))
    assert np.all(computed.t[5:] == 0)


@pytest.mark.parametrize("statistic", ["mann-whitney", "d-prime", "selectivity-index"])
def test_several_controls_pooled_are_one_sample(rng: np.random.Generator, statistic: str) -> None:
    """`a > b, c` compares with all other stimuli taken together."""
    texts = texts_of(rng, 12, 7, 9)
    computed = localize(ToyAdapter(), made_of(texts, "a > b, c", statistic=statistic))
    t, _, p = expected_of(statistic, counts(texts["a"]), counts(texts["b"] + texts["c"]))

    np.testing.assert_allclose(computed.t[UNITS], t, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(computed.p[UNITS], p, rtol=1e-9)


@pytest.mark.parametrize("statistic", ALL)
def test_a_conjunction_is_the_worst_comparison(rng: np.random.Generator, statistic: str) -> None:
    """The smallest statistic; p is that of the comparison with the smallest t (of z: itself)."""
    texts = texts_of(rng, 12, 12, 12)
    made = made_of(texts, "a > b, c", against="each", statistic=statistic)
    computed = localize(ToyAdapter(), made)
    x = counts(texts["a"])
    tests = [expected_of(statistic, x, counts(texts[name])) for name in "bc"]
    tested = statistic if statistic in ("paired", "mann-whitney") else "welch"
    ts = [expected_of(tested, x, counts(texts[name]))[0] for name in "bc"]
    worst = np.argmin(ts, axis=0)
    p = np.stack([p for _, _, p in tests])[worst, np.arange(5)]

    assert set(worst) == {0, 1}
    np.testing.assert_allclose(
        computed.t[UNITS], np.min([t for t, _, _ in tests], axis=0), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(computed.p[UNITS], p, rtol=1e-9)


def test_area_under_the_curve_follows_from_z(rng: np.random.Generator) -> None:
    """Without ties: 1/2 + (z sd + 1/2) / (m n) is the share of pairs that U is."""
    x, y = rng.normal(1, 1, (9, 1)), rng.normal(0, 1, (7, 1))
    test = mann_whitney(x, y)
    sd = np.sqrt(9 * 7 * (9 + 7 + 1) / 12)

    assert test.z > 0
    np.testing.assert_allclose(test.auroc, 0.5 + (test.z * sd + 0.5) / (9 * 7))


@pytest.mark.parametrize("statistic", ALL)
def test_other_batches_and_a_file_give_the_same_map(
    rng: np.random.Generator, statistic: str
) -> None:
    """Read one by one, kept in memory or in a temporary file."""
    made = made_of(texts_of(rng, 8, 8), statistic=statistic)
    stimuli = load(made, seed=0)
    group = [stimulus for name in made.conditions for stimulus in stimuli[name]]
    plain = localize(ToyAdapter(), made, stimuli)
    for adapter, memory in ((ToyAdapter(1), 2**20), (ToyAdapter(5), 0)):
        again = localize(adapter, made, stimuli, readings=Readings(adapter, [group], memory))
        np.testing.assert_allclose(again.t, plain.t, atol=1e-12)
        np.testing.assert_allclose(again.baseline, plain.baseline)


def test_yekutieli_is_scipys(rng: np.random.Generator) -> None:
    """q of the StatMap, within a kind of site, and what is selected by it."""
    texts = texts_of(rng, 30, 30)
    select = {"fdr": 0.05, "correction": "benjamini-yekutieli"}
    read = {"pool": "last", "sites": ["block", "mlp-neurons"]}
    by = localize(ToyAdapter(), made_of(texts, select=select, read=read))
    bh = localize(ToyAdapter(), made_of(texts, read=read))
    for kind in by.layout.kinds:
        among = by.layout.of_kind(kind)
        expected = reference.false_discovery_control(by.p[among], method="by")
        np.testing.assert_allclose(by.q[among], expected)

    assert np.any(by.q > bh.q)


def numbered(n: int, prefix: str, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / f"{prefix}.txt"
    path.write_text("\n".join(f"{prefix} {'abcde'[i % 5]} {i}" for i in range(n)) + "\n")
    return {"file": str(path)}


def numbers(stimuli: Any) -> list[int]:
    return [int(stimulus.title.split()[-1]) for stimulus in stimuli]


@pytest.mark.parametrize("seed", [0, 1])
def test_partners_stay_together(tmp_path: Path, seed: int) -> None:
    """Through the condition's limit, --limit, the halves and evaluate_limit, in one order."""
    conditions = {
        "a": {**numbered(60, "x", tmp_path), "limit": 40},
        "b": {**numbered(60, "y", tmp_path), "limit": 40},
        "other": {**numbered(60, "z", tmp_path), "limit": 40},
    }
    changes = {"conditions": conditions, "split": "half", "evaluate_limit": 8}
    made = contrast("a > b", statistic="paired", **changes)
    sets = sample_stimuli(made, seed=seed, limit=30)
    for half in sets.halves:
        assert numbers(half["a"]) == numbers(half["b"])
        assert numbers(half["a"]) != numbers(half["other"])
    assert [len(half["a"]) for half in sets.halves] == [15, 8]

    unpaired = sample_stimuli(contrast("a > b", **changes), seed=seed, limit=30)
    assert numbers(unpaired.localizing["a"]) == numbers(sets.localizing["a"])
    assert numbers(unpaired.localizing["b"]) != numbers(sets.localizing["b"])
    assert unpaired.localizing["other"] == sets.localizing["other"]


def test_pairs_that_share_a_stimulus_are_in_one_half() -> None:
    """Along chains: 0 and 1 share a text of a, 1 and 2 one of b; so 0, 1 and 2 stay together."""
    a = ["p", "p", "q", "r", "s", "t"]
    b = ["u", "v", "v", "w", "x", "y"]
    stimuli = {
        name: [Stimulus(f"{name}{i}", text) for i, text in enumerate(texts)]
        for name, texts in (("a", a), ("b", b))
    }
    sides = set()
    for seed in range(20):
        first, second = split_half(stimuli, seed, ("a", "b"))
        ids = [{stimulus.id[1:] for stimulus in half["a"]} for half in (first, second)]
        assert ids == [{stimulus.id[1:] for stimulus in half["b"]} for half in (first, second)]
        assert {len(half) for half in ids} == {3}
        sides.add("0" in ids[0])
        assert any({"0", "1", "2"} <= half for half in ids)
    assert sides == {True, False}


@pytest.mark.parametrize(
    ("sizes", "limits", "message"),
    [
        ((40, 41), (None, None), "there are a 40 of 40, b 41 of 41"),
        ((40, 41), (20, 20), "there are a 20 of 40, b 20 of 41"),
        ((40, 40), (20, 30), "there are a 20 of 40, b 30 of 40"),
    ],
)
def test_conditions_without_as_many_rows_have_no_partners(
    tmp_path: Path, sizes: tuple[int, int], limits: tuple[int, int], message: str
) -> None:
    """Also where a limit would make them equal: other rows would be drawn of each."""
    conditions = {
        name: {**numbered(size, name, tmp_path), "limit": limit}
        for name, size, limit in zip("ab", sizes, limits, strict=True)
    }
    made = contrast("a > b", statistic="paired", conditions=conditions)
    with pytest.raises(
        ContrastError, match=f"needs as many rows and the same limit; {message}; or"
    ):
        load(made, seed=0, limit=15)


def test_stimuli_that_are_handed_over_need_partners(rng: np.random.Generator) -> None:
    """`localize` counts them as well."""
    made = made_of(texts_of(rng, 5, 5), statistic="paired")
    stimuli = dict(load(made, seed=0))
    stimuli["b"] = stimuli["b"][:4]
    with pytest.raises(ContrastError, match="equal numbers, but there are a 5, b 4; make them"):
        localize(ToyAdapter(), made, stimuli)


@pytest.mark.parametrize(
    ("declared", "changes", "message"),
    [
        ("a > b", {"statistic": "mann-whitny"}, "did you mean 'mann-whitney'"),
        ("a > b", {"select": {"fdr": 0.1, "correction": "by"}}, "must be one of benjamini-hochb"),
        ("a > b", {"select": {"k": 3, "correction": "benjamini-yekutieli"}}, "goes with fdr, not"),
        ("a, b > c", {"statistic": "paired"}, "need one condition on each side"),
        ("a > b, c", {"statistic": "paired"}, "need one condition on each side"),
        ("a > b", {"statistic": "paired", "balance": True}, "equal numbers anyway; leave it out"),
        *[
            ({"a": 1, "b": -1}, {"statistic": name}, f"{name} compares two sides, without weights")
            for name in ALL[1:]
        ],
    ],
)
def test_what_cannot_be_compared_is_refused(
    declared: Any, changes: dict[str, Any], message: str
) -> None:
    """In one line that says what works."""
    value = {**contrast("a > b").to_json(), "contrast": declared, **changes}
    with pytest.raises(ContrastError, match=message) as caught:
        Contrast.from_json(value, Path())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("statistic", ["paired", "mann-whitney"])
def test_too_many_activations_are_refused_before_they_are_read(
    rng: np.random.Generator, statistic: str
) -> None:
    """A statistic that takes every activation says what there is room for, and what to do."""
    made = made_of(texts_of(rng, 5, 5), statistic=statistic)
    stimuli = load(made, seed=0)
    group = [stimulus for name in made.conditions for stimulus in stimuli[name]]

    class Unread(ToyAdapter):
        def activations(self, *_: Any) -> Any:
            raise AssertionError("the model was read")

    readings = Readings(Unread(), [group], 0, 0)
    with pytest.raises(
        ContrastError, match=f"{statistic} takes every activation; 0.0 GiB .* or write `statistic"
    ):
        localize(Unread(), made, stimuli, readings=readings)


def test_the_held_out_test_of_pairs_is_scipys(rng: np.random.Generator) -> None:
    """t, df and p of the mean z of the selected units, pair by pair; d stays Cohen's."""
    texts = texts_of(rng, 24, 24)
    made = made_of(texts, statistic="paired", split="half", select={"k": 2})
    localizing, held_out = sample_stimuli(made, seed=0).halves
    stat_map = localize(ToyAdapter(), made, localizing)
    mask = UnitMask(stat_map.layout, np.arange(26) < 2)
    sizes = {name: len(group) for name, group in localizing.items()}
    computed = profile(ToyAdapter(5), made, stat_map, mask, held_out, counts=sizes)
    test = computed.preference("block", "selected")
    known = np.concatenate([counts([s.title for s in localizing[name]]) for name in "ab"])[:, :2]
    x, y = (
        (
            (counts([s.title for s in held_out[name]])[:, :2] - known.mean(0))
            / known.std(0, ddof=1)
        ).mean(axis=1)
        for name in "ab"
    )
    expected = reference.ttest_rel(x, y)
    pooled = np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)

    np.testing.assert_allclose([test.t, test.df, test.p], [*expected[:1], 11, expected.pvalue])
    assert test.d == pytest.approx((x.mean() - y.mean()) / pooled)


def test_one_pair_held_out_cannot_be_tested(rng: np.random.Generator) -> None:
    """nan, as with one stimulus of a condition."""
    made = made_of(texts_of(rng, 4, 4), statistic="paired", select={"k": 2})
    stimuli = load(made, seed=0)
    stat_map: StatMap = localize(ToyAdapter(), made, stimuli)
    mask = UnitMask(stat_map.layout, np.arange(26) < 2)
    one = {name: group[:1] for name, group in stimuli.items()}
    sizes = {name: len(group) for name, group in stimuli.items()}
    computed = profile(ToyAdapter(), made, stat_map, mask, one, counts=sizes)

    assert np.isnan(computed.preference("block", "selected").t)


def test_a_run_says_what_units_are_ranked_by(tmp_path: Path) -> None:
    """On the console and in the report: its columns, figures and method."""
    target = tmp_path / "run"
    options = ["--limit", "12", "-o", str(target), "-q", "--set", "statistic=mann-whitney"]
    runner = CliRunner()
    printed = runner.invoke(main, ["localize", "language", "-m", "reference:lm", *options])
    reported = runner.invoke(main, ["report", str(target)])

    assert (printed.exit_code, reported.exit_code) == (0, 0)
    assert "selected  max z\n" in printed.stdout
    assert "r(z) = " in printed.stdout
    assert "above permuted z = " in printed.stdout
    assert "ranked by z of the Mann-Whitney test\n" in printed.stdout
    assert max(map(len, printed.stdout.splitlines()[:-1])) <= 80
    page = " ".join((target / "report.html").read_text().split())
    for text in (
        "lowest selected z</th>",
        "For each unit z of the Mann-Whitney test",
        "compared the two sides of the contrast",
        "Right: z of the Mann-Whitney test of every unit; above 0 a unit responds more",
        "% of units by z, for each kind of site separately",
        "the correlation of z over all units",
    ):
        assert text in page
    assert "lowest selected t" not in page
    stat_map = load_run(target).stat_map
    assert np.all(stat_map.df == np.inf)
    np.testing.assert_allclose(stat_map.p, 2 * reference.norm.sf(np.abs(stat_map.t)), atol=1e-15)
