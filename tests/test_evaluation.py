from dataclasses import replace

import numpy as np
import pytest

from deeploc.analysis.evaluation import evaluate
from deeploc.analysis.localization import localize
from deeploc.analysis.planning import plan
from deeploc.analysis.select_units import check_sizes, select_units
from deeploc.contrast.model import Ablate, Contrast, Controls, Select
from deeploc.core import controls
from deeploc.core.ablation import Ablation, parse_gain
from deeploc.core.adapter import Adapter, ScoresText
from deeploc.core.effects import effects
from deeploc.core.matching import random_like
from deeploc.core.readout import Readout
from deeploc.core.results import Cell, Measurement
from deeploc.core.task import require
from deeploc.core.units import Layout, Site, StatMap, UnitMask
from deeploc.errors import MaskError, TaskError
from deeploc.stimuli import Stimulus
from deeploc.testing import ToyAdapter

from .conftest import stat_map_of


@pytest.fixture
def stat_map(layout: Layout) -> StatMap:
    return stat_map_of(np.arange(20.0), layout)


def units(mask: UnitMask) -> list[int]:
    return np.flatnonzero(mask.selected).tolist()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"percent": 25}, [6, 7, 17, 18, 19]),
        ({"k": 1}, [7, 19]),
        ({"percent": 25, "tail": "bottom"}, [0, 1, 8, 9, 10]),
        ({"percentile": [0, 20]}, [0, 1, 8, 9, 10]),
        ({"fdr": 0.6}, [1, 2, 3, 4, 5, 6, 7, *range(8, 20)]),
        ({"fdr": 0.4}, []),
    ],
)
def test_units_are_selected_within_each_kind(
    stat_map: StatMap, how: dict[str, object], expected: list[int]
) -> None:
    """8 neurons and 12 block units are ranked apart; q is 0.5 throughout, t of unit 0 is 0."""
    assert units(select_units(stat_map, Select.model_validate(how))) == expected


def test_plan_holds_every_cell_once_and_tells_empty_doses(stat_map: StatMap) -> None:
    """Intact first; each kind, mode and dose with its controls; a dose of no unit is told."""
    ablate = Ablate.model_validate(
        {
            "mode": ["zero", "scale:0.5"],
            "percent": [10, 25],
            "controls": {
                **{"random": 2, "random-global": 1, "magnitude-matched": 2},
                **{"bottom": True, "opposite": True, "range": [20, 90]},
            },
        }
    )
    todo = plan(stat_map, select_units(stat_map, Select()), ablate, seed=0)
    names = ["top", "random-0", "random-1", "random-global-0", "magnitude-matched-0"]
    names += ["magnitude-matched-1", "bottom", "opposite", "range-20-90"]
    doses = [("mlp-neurons", 25.0), ("block", 10.0), ("block", 25.0)]

    assert next(iter(todo.cells)) == Cell()
    assert set(todo.cells) == {Cell()} | {
        Cell(kind, mode, percent, name, "" if name == "top" else "top")
        for kind, percent in doses
        for mode in ("zero", "scale:0.5")
        for name in names
    }
    assert todo.notices == ("10 % of 8 mlp-neurons units is no unit: not ablated",)


def test_masks_are_drawn_when_they_are_needed(
    stat_map: StatMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planning draws no control; asking twice for a cell gives the same units."""
    sampled = []

    def counted(mask: UnitMask, seed: object) -> UnitMask:
        sampled.append(seed)
        return random_like(mask, seed)

    monkeypatch.setattr(controls, "random_like", counted)
    ablate = Ablate.model_validate({"percent": 25, "controls": {"random": 3}})
    todo = plan(stat_map, select_units(stat_map, Select()), ablate, seed=4)
    assert len(todo.cells) == 9
    assert sampled == []

    cell = Cell("block", "zero", 25.0, "random-1", "top")
    first, again = todo.cells[cell], todo.cells[cell]
    assert sampled == [(4, 1), (4, 1)]
    assert first is not None
    assert again is not None
    assert units(first.mask) == units(again.mask)


def test_masks_of_a_plan_stay_in_their_kind_and_size(stat_map: StatMap) -> None:
    """Every control of a dose has as many units as the top, of the same kind."""
    ablate = Ablate.model_validate(
        {
            "percent": 25,
            "controls": {
                **{"random": 3, "random-global": 3, "magnitude-matched": 3},
                **{"bottom": True, "opposite": True, "range": [0, 100]},
            },
        }
    )
    todo = plan(stat_map, select_units(stat_map, Select()), ablate, seed=4)
    for cell, edit in todo.cells.items():
        if edit is not None:
            assert len(edit.mask) == {"mlp-neurons": 2, "block": 3}[cell.sites]
            assert edit.mask.selected[~stat_map.layout.of_kind(cell.sites)].sum() == 0


def test_without_doses_the_selection_itself_is_ablated(stat_map: StatMap) -> None:
    """`select: {k: 3}` is what is ablated, under the percentage that it amounts to."""
    mask = select_units(stat_map, Select(k=3))
    todo = plan(stat_map, mask, Ablate.model_validate({"controls": {"random": 0}}), seed=0)

    edit = todo.cells[Cell("block", "zero", 25.0, "selected")]
    assert edit is not None
    assert units(edit.mask) == [17, 18, 19]
    assert set(todo.cells) == {
        Cell(),
        Cell("block", "zero", 25.0, "selected"),
        Cell("mlp-neurons", "zero", 37.5, "selected"),
    }


@pytest.mark.parametrize(
    ("mode", "gain", "offset"), [("zero", 0.0, None), ("mean", 0.0, 0.25), ("scale:-2", -2.0, None)]
)
def test_modes_are_one_affine_edit(
    stat_map: StatMap, mode: str, gain: float, offset: float | None
) -> None:
    """x becomes gain * x + offset."""
    made = Ablation.of(mode, select_units(stat_map, Select()), stat_map)

    assert made.gain == gain
    assert (made.offset if offset is None else made.offset[0]) == offset


@pytest.mark.parametrize("mode", ["", "zeros", "scale", "scale:", "scale:inf", "scale:x"])
def test_unknown_mode_lists_the_modes(mode: str) -> None:
    """The message quotes the mode and shows how a scale is written."""
    with pytest.raises(ValueError, match=r"there are 'zero', .*'noise', 'add', 'scale:G' and"):
        parse_gain(mode, "scale")


class CountsA:
    """How often the toy model says it saw an a, in two texts."""

    name = "counts"
    metrics = {"a": "higher"}
    identity = {"items": "two"}

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self, adapter: Adapter) -> None:
        del adapter  # nothing to learn from the intact model
        self.prepared += 1

    def measure(self, adapter: Adapter) -> list[Measurement]:
        stimuli = [Stimulus("1", "aab"), Stimulus("2", "bab")]
        readout = Readout(pool="last")
        (batch,) = adapter.activations(stimuli, adapter.sites.choose(["block"]), readout)
        return [Measurement("a", "all", batch.values[:, 0], np.ones(2))]


@pytest.fixture
def cells() -> dict[Cell, Ablation | None]:
    sites = ToyAdapter.sites
    neuron = np.zeros(sites.n_units, dtype=bool)
    neuron[0] = True
    return {
        Cell(): None,
        Cell("mlp-neurons", "zero", 1.0, "top"): Ablation(UnitMask(sites, neuron)),
    }


def test_ablation_is_on_during_a_cell_and_only_then(cells: dict[Cell, Ablation | None]) -> None:
    """The silenced neuron stops the count; afterwards the model is intact."""
    adapter, task = ToyAdapter(), CountsA()
    scores = evaluate(adapter, [task], cells)

    assert [(row.mask, row.value) for row in scores] == [("none", 1.5), ("top", 0.0)]
    assert task.measure(adapter)[0].amount.tolist() == [2.0, 1.0]
    assert task.prepared == 1


def test_known_scores_are_not_measured_again(cells: dict[Cell, Ablation | None]) -> None:
    """What was measured is kept, what is missing is added; each cell is reported once."""
    adapter, task = ToyAdapter(), CountsA()
    first = evaluate(adapter, [task], {Cell(): None})
    reported: list[list[float]] = []
    scores = evaluate(
        adapter,
        [task],
        cells,
        known=first,
        on_scores=lambda new: reported.append([row.value for row in new]),
    )

    assert scores[0] == first[0]
    assert reported == [[1.5], [0.0]]


def test_finished_evaluation_does_not_touch_the_model(cells: dict[Cell, Ablation | None]) -> None:
    """With every score known no task is even prepared."""
    scores = evaluate(ToyAdapter(), [CountsA()], cells)
    task = CountsA()

    assert evaluate(ToyAdapter(), [task], cells, known=scores) == scores
    assert task.prepared == 0


@pytest.mark.parametrize("change", ["units", "gain", "offset", "task"])
def test_a_score_of_something_else_is_not_reused(
    cells: dict[Cell, Ablation | None], change: str
) -> None:
    """Other units, another factor, another offset or other items under the same names."""
    name = Cell("mlp-neurons", "zero", 1.0, "top")
    known = evaluate(ToyAdapter(), [CountsA()], cells, task_keys={"counts": "a"})
    mask = UnitMask(ToyAdapter.sites, np.arange(52) == 1)
    same = cells[name]
    assert same is not None
    other = {
        "units": Ablation(mask),
        "gain": Ablation(same.mask, gain=0.5),
        "offset": Ablation(same.mask, offset=np.ones(52)),
        "task": same,
    }[change]
    task = CountsA()
    keys = {"counts": "b" if change == "task" else "a"}
    evaluate(ToyAdapter(), [task], {Cell(): None, name: other}, known=known, task_keys=keys)

    assert task.prepared == 1


def test_equal_ablations_of_two_names_are_measured_once(
    cells: dict[Cell, Ablation | None],
) -> None:
    """The selection and a dose of the same units: one measurement, two rows."""
    top = Cell("mlp-neurons", "zero", 1.0, "top")
    known = evaluate(ToyAdapter(), [CountsA()], cells)
    task = CountsA()
    selected = Cell("mlp-neurons", "zero", 2.0, "selected")
    (row,) = evaluate(ToyAdapter(), [task], {selected: cells[top]}, known=known)

    assert (row.mask, row.mask_kind, row.percent, row.value) == ("selected", "selected", 2.0, 0.0)
    assert task.prepared == 0


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"k": 9}, r"k is 9 but there are 8 mlp-neurons units; lower k"),
        (
            {"percentile": [80, 90], "percent": 25},
            r"percent 25 is 2 of 8 mlp-neurons units, but only 1 lie between the percentiles 80",
        ),
    ],
)
def test_a_selection_that_cannot_be_met_is_refused_early(
    layout: Layout, select: dict[str, object], message: str
) -> None:
    """The sizes of the sites tell, before anything is read."""
    with pytest.raises(ValueError, match=message):
        check_sizes(layout, Select.model_validate(select))


@pytest.mark.parametrize("bounds", [(80, 90), (12.5, 62.5), (33, 34), (10, 95)])
@pytest.mark.parametrize("n", [8, 12, 101])
def test_number_between_percentiles_is_that_of_numpy(bounds: tuple[float, float], n: int) -> None:
    """As many units as lie between NumPy's percentiles can be asked for, and not one more."""
    site = Layout((Site("h.0", "block", n),))
    low, high = np.percentile(np.arange(float(n)), bounds)
    count = int(np.sum((np.arange(n) >= low) & (np.arange(n) <= high)))

    def percent(k: int) -> Select:
        return Select(percentile=bounds, percent=100 * (k + 0.5) / n)

    if count:
        check_sizes(site, percent(count))
    with pytest.raises(ValueError, match=f"only {count} lie between"):
        check_sizes(site, percent(count + 1))


def test_a_control_without_enough_units_is_refused_by_the_plan(stat_map: StatMap) -> None:
    """A range narrower than the dose, and more unselected units than there are."""
    mask = select_units(stat_map, Select())

    def refused(percent: float, controls: dict[str, object]) -> str:
        ablate = Ablate.model_construct(
            percent=(percent,), controls=Controls.model_validate(controls)
        )
        with pytest.raises(ValueError, match="control") as caught:
            plan(stat_map, mask, ablate, seed=0)
        return str(caught.value)

    assert refused(25, {"range": [80, 90]}) == (
        "control 'range-80-90' needs 2 units and can choose from 1; lower ablate.percent, or "
        "leave the control out"
    )
    assert refused(75, {"random-global": 1}).startswith(
        "control 'random-global-0' needs 6 units and can choose from 2; "
    )


def test_shuffled_units_are_those_that_permuted_labels_select(stat_map: StatMap) -> None:
    """As many units of the kind as are ablated, with the largest t of the permutation."""
    rng = np.random.default_rng(5)
    permuted = rng.normal(size=(2, stat_map.layout.n_units))
    ablate = Ablate.model_validate({"percent": 25, "controls": {"random": 0, "shuffled": 2}})
    mask = select_units(stat_map, Select())
    todo = plan(stat_map, mask, ablate, 0, lambda index: permuted[index])

    for kind, n in (("mlp-neurons", 2), ("block", 3)):
        among = np.flatnonzero(stat_map.layout.of_kind(kind))
        for index in range(2):
            ablation = todo.cells[Cell(kind, "zero", 25.0, f"shuffled-{index}", "top")]
            largest = among[np.argsort(-permuted[index][among])[:n]]
            assert ablation is not None
            assert units(ablation.mask) == sorted(largest.tolist())


def test_shuffled_without_activations_is_refused(stat_map: StatMap) -> None:
    """The plan says what is missing before anything is measured."""
    ablate = Ablate.model_validate({"percent": 25, "controls": {"shuffled": 1}})

    with pytest.raises(ValueError, match="control 'shuffled' needs the activations"):
        plan(stat_map, select_units(stat_map, Select()), ablate, seed=0)


@pytest.mark.parametrize("wanted", [{"opposite": True}, {"magnitude-matched": 1}])
def test_a_control_without_enough_units_at_one_site_is_refused(
    stat_map: StatMap, wanted: dict[str, object]
) -> None:
    """Half of the units are free, but none of them at the second site."""
    mask = select_units(stat_map, Select())
    ablate = Ablate.model_validate({"percent": 50, "controls": wanted})
    (label,) = controls.requested(Controls.model_validate({"random": 0, **wanted}))

    with pytest.raises(ValueError, match="control") as caught:
        plan(stat_map, mask, ablate, seed=0)
    assert str(caught.value) == (
        f"control {label.name!r} needs 4 units at site h.1.mlp.down:input and can choose from 0; "
        "lower ablate.percent, or leave the control out"
    )


def test_units_that_cannot_be_matched_do_not_count(stat_map: StatMap) -> None:
    """Without a t there is no opposite, without a magnitude nothing to match."""
    t, magnitude = stat_map.t.copy(), stat_map.magnitude.copy()
    t[4], magnitude[5] = np.nan, np.nan
    broken = replace(stat_map, t=t, magnitude=magnitude)
    for wanted in ({"opposite": True}, {"magnitude-matched": 1}):
        ablate = Ablate.model_validate({"percent": 25, "controls": wanted})
        plan(stat_map, select_units(stat_map, Select()), ablate, seed=0)
        with pytest.raises(ValueError, match=r"2 units at site h\.1\.mlp\.down:input .* from 1;"):
            plan(broken, select_units(broken, Select()), ablate, seed=0)


def test_opposite_is_the_lowest_of_every_site_and_bottom_of_all(stat_map: StatMap) -> None:
    """Both prefer the other side; only one lies where the selected units do."""
    ablate = Ablate.model_validate({"percent": 25, "controls": {"bottom": True, "opposite": True}})
    todo = plan(stat_map, select_units(stat_map, Select()), ablate, seed=0)
    masks = {
        name: units(edit.mask)
        for name in ("top", "bottom", "opposite")
        if (edit := todo.cells[Cell("block", "zero", 25.0, name, "" if name == "top" else "top")])
    }

    assert masks == {"top": [17, 18, 19], "bottom": [8, 9, 10], "opposite": [14, 15, 16]}


def test_only_random_masks_enter_p() -> None:
    """An evaluation with every control: those of other sorts stand beside the effect by name."""
    declared = {
        **{"name": "letters", "title": "Letters", "source": "made", "modality": "text"},
        "conditions": {"a": {"texts": ["aab", "abaa"]}, "b": {"texts": ["b", "cbb"]}},
        **{"contrast": "a > b", "split": "none", "select": {"percent": 4}},
        "read": {"sites": ["mlp-neurons", "block"], "pool": "last"},
    }
    wanted = {"random": 3, "random-global": 1, "magnitude-matched": 2, "bottom": True}
    ablate = Ablate.model_validate({"controls": {**wanted, "opposite": True, "range": [0, 50]}})
    adapter, contrast = ToyAdapter(), Contrast.model_validate(declared)
    localized = localize(adapter, contrast)
    todo = plan(localized, select_units(localized, contrast.select), ablate, seed=0)
    scores = evaluate(adapter, [CountsA()], todo.cells)
    (effect,) = (
        e for e in effects(scores, {"counts": {"a": "higher"}}) if e.sites == "mlp-neurons"
    )

    assert (effect.intact, effect.ablated) == (1.5, 0.0)
    assert effect.controls == (1.5, 1.5, 1.5)
    assert effect.p == 0.25
    assert [name for name, _ in effect.others] == [
        *("random-global-0", "magnitude-matched-0", "magnitude-matched-1"),
        *("bottom", "opposite", "range-0-50"),
    ]


def test_all_units_but_those_without_t_are_ablated(layout: Layout) -> None:
    """100 % with one non-finite unit: the other units, and a notice."""
    t = np.arange(20.0)
    t[3] = np.nan
    stat_map = stat_map_of(t, layout)
    ablate = Ablate.model_validate({"percent": 100, "controls": {"random": 1}})
    todo = plan(stat_map, select_units(stat_map, Select()), ablate, seed=0)
    edit = todo.cells[Cell("mlp-neurons", "zero", 100.0, "top")]

    assert edit is not None
    assert units(edit.mask) == [0, 1, 2, 4, 5, 6, 7]
    assert todo.notices == (
        "100 % of 8 mlp-neurons units are 8, of which 1 have no t (non-finite activation): "
        "the other 7 are ablated",
    )


def test_statistics_of_other_units_are_refused(stat_map: StatMap, layout: Layout) -> None:
    """Blocks are never held at the means of neurons."""
    swapped = Layout(layout.sites[::-1])
    mask = UnitMask(swapped, np.arange(20) < 4)

    with pytest.raises(MaskError, match=r"of different units: site h\.1 \(6 units\) against h\.0"):
        Ablation.of("mean", mask, stat_map)
    with pytest.raises(MaskError, match="the offset has 3 values but the mask has 20"):
        Ablation(UnitMask(layout, np.arange(20) < 4), offset=np.ones(3))


def test_key_of_an_ablation_is_what_it_does(layout: Layout) -> None:
    """The same units, factor and offsets at the selected units: the same key."""
    mask = UnitMask(layout, np.arange(20) < 4)
    offset = np.arange(20.0)
    elsewhere = offset + 5 * (np.arange(20) >= 4)

    assert Ablation(mask).key == Ablation(mask, gain=0.0).key
    assert Ablation(mask, offset=offset).key == Ablation(mask, offset=elsewhere).key
    keys = {
        Ablation(mask).key,
        Ablation(mask, gain=0.5).key,
        Ablation(mask, offset=offset).key,
        Ablation(mask, offset=offset + 1).key,
        Ablation(mask, gain=0.5, offset=offset).key,
        Ablation(UnitMask(layout, np.arange(20) < 5)).key,
        Ablation(UnitMask(Layout(layout.sites[::-1]), np.arange(20) < 4)).key,
    }
    assert len(keys) == 7


def test_missing_ability_is_one_sentence() -> None:
    """The message names task, ability and model."""
    with pytest.raises(
        TaskError, match=r"task 'perplexity' needs .* ability ScoresText; toy has none"
    ):
        require(ToyAdapter(), ScoresText, "perplexity")
