from dataclasses import replace

import numpy as np
import pytest

from deeploc.core.controls import MaskLabel
from deeploc.core.effects import Effect, effects
from deeploc.core.results import Cell, Measurement, Score, from_csv, scores_of, to_csv

ABLATED = Cell("block", "zero", 1.0, "top")


def score(task: str, measurement: Measurement, cell: Cell) -> Score:
    (row,) = scores_of([(task, measurement)], cell)
    return row


def test_perplexity_is_the_exponential_of_nats_per_token() -> None:
    """Three texts of unequal length are weighted by their tokens."""
    amount, weight = np.array([2.0, 3.0, 7.0]), np.array([1.0, 2.0, 3.0])
    row = score("perplexity", Measurement("perplexity", "a", amount, weight, True), ABLATED)

    assert row.value == pytest.approx(np.exp(12 / 6))
    assert row.n == 3
    assert row.ci_low <= row.value <= row.ci_high


def test_interval_covers_as_often_as_it_says() -> None:
    """Of 400 samples of 60 normal items about 95 % have the true mean in their interval."""
    rng = np.random.default_rng(3)
    rows = [
        score("t", Measurement("m", "a", rng.normal(size=60), np.ones(60)), ABLATED)
        for _ in range(400)
    ]
    covered = np.mean([row.ci_low <= 0 <= row.ci_high for row in rows])

    assert 0.91 < covered < 0.98


def test_items_an_ablated_model_breaks_on_are_infinite() -> None:
    """One infinite item makes the value infinite, never nan, and the interval says so."""
    amount = np.array([1.0, np.inf, 1.0, 1.0])
    row = score("t", Measurement("nll", "a", amount, np.ones(4)), ABLATED)

    assert row.value == np.inf
    assert row.ci_high == np.inf
    assert not np.isnan(row.ci_low)


def rows(*, intact: float, top: float, controls: list[float]) -> list[Score]:
    def row(mask: str, value: float) -> Score:
        mode, percent = ("none", 0.0) if mask == "none" else ("zero", 1.0)
        sites = "none" if mask == "none" else "block"
        label = MaskLabel.parse(mask)
        return Score(
            *("t", "nll", "a", mode, percent, mask, value, 9, value, value, sites),
            control_of="" if mask in ("none", "top") else "top",
            mask_kind=label.kind,
            mask_index=label.index,
        )

    masks = [row(f"random-{i}", value) for i, value in enumerate(controls)]
    return [row("none", intact), row("top", top), *masks, row("random-global-0", 99.0)]


@pytest.mark.parametrize(
    ("top", "controls", "p", "verdict"),
    [
        (3.0, [1.1] * 20, 1 / 21, "beyond random"),
        (3.0, [1.1] * 19 + [3.0], 2 / 21, "as random"),
        (0.9, [1.1] * 20, 1.0, "unharmed"),
        (3.0, [1.1] * 18, 1 / 19, "too few controls"),
        (3.0, [1.1] * 19, 1 / 20, "beyond random"),
        (np.inf, [np.inf] + [1.0] * 19, 2 / 21, "as random"),
    ],
)
def test_verdict_by_hand(top: float, controls: list[float], p: float, verdict: str) -> None:
    """p counts controls at least as damaging; other controls do not enter it."""
    (effect,) = effects(rows(intact=1.0, top=top, controls=controls), {"t": {"nll": "lower"}})

    assert effect.p == pytest.approx(p)
    assert effect.verdict == verdict
    assert effect.others == (("random-global-0", 99.0),)


def test_damage_points_down_where_higher_is_better() -> None:
    """Losing accuracy is damage, gaining it is none."""
    effect = Effect("t", "accuracy", "a", "block", "zero", 1.0, "higher", 0.9, 0.6, (0.95,) * 20)

    assert effect.damage(0.6) == pytest.approx(0.3)
    assert effect.verdict == "beyond random"


def test_scores_read_back_unchanged() -> None:
    """CSV keeps every digit, infinities included."""
    written = rows(intact=1 / 3, top=np.inf, controls=[0.1, 1e-17])

    assert from_csv(to_csv(written)) == written


@pytest.mark.parametrize(
    ("name", "kind", "index"),
    [
        ("none", "none", None),
        ("selected", "selected", None),
        ("random-3", "random", 3),
        ("random-global-12", "random-global", 12),
        ("bottom", "bottom", None),
        ("range-80-92.5", "range", None),
    ],
)
def test_mask_names_are_kind_and_index(name: str, kind: str, index: int | None) -> None:
    """What a table says of a mask leads back to it."""
    label = MaskLabel.parse(name)

    assert (label.kind, label.index) == (kind, index)
    assert label.name == name


def test_controls_of_the_selection_and_of_a_dose_are_kept_apart() -> None:
    """25 % selected and the top 25 % have controls of the same names."""
    written = rows(intact=1.0, top=3.0, controls=[1.1] * 2)
    selected = [
        replace(r, mask="selected" if r.mask == "top" else r.mask,
                mask_kind="selected" if r.mask == "top" else r.mask_kind,
                control_of=r.control_of and "selected", value=r.value + 10)
        for r in written[1:]
    ]  # fmt: skip
    result = {e.mask: e for e in effects([*written, *selected], {"t": {"nll": "lower"}})}

    assert result["top"].controls == (1.1, 1.1)
    assert result["selected"].ablated == 13.0
    assert result["selected"].controls == (11.1, 11.1)
