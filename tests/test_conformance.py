"""The conformance kit: every check passes on an adapter that is right, and can fail."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc.cli import main
from deeploc.core.ablation import Ablation, Edit, ForwardPass
from deeploc.core.adapter import (
    Adapter,
    Batch,
    ModelOptions,
    Predictions,
    Sampling,
    TextRequest,
    TextScore,
    Tokenization,
)
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import AdapterError, MaskError
from deeploc.stimuli import Stimulus
from deeploc.testing import CHECKS, check_adapter, run_checks
from deeploc.testing.edits import Edits
from deeploc.testing.stimuli import check_images, check_texts, stimuli_for

LETTERS = "abcdefghijklmnopqrstuvwxyz "
TEXTS = check_texts()


def _site(i: int, kind: str) -> Site:
    if kind == "block":
        return Site(f"layers.{i}", kind, 4)
    return Site(f"layers.{i}.down", kind, 6, "input")


class Chain:
    """A language model of letters in three layers, with every ability; each reads its past only."""

    identity: Mapping[str, Any] = {"model": "chain", "weights": "seed 0"}
    sites = Layout(tuple(_site(i, k) for i in range(3) for k in ("mlp-neurons", "block")))
    classes = (("one",), ("two",), ("three",))

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.embedding = rng.normal(size=(27, 4))
        self.up, self.down = rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 6, 4))
        self.unembedding, self.classifier = rng.normal(size=(4, 27)), rng.normal(size=(4, 3))
        self._edits = Edits(self.sites, "chain")

    def forward(self, text: str) -> dict[str, np.ndarray]:
        """Return ``(position, unit)`` at every site."""
        x = self.embedding[[max(LETTERS.find(c), 0) for c in text]]
        shown = {}
        for i, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            past = x.cumsum(axis=0) / np.arange(1, len(x) + 1)[:, None]
            neurons = self.edited(f"layers.{i}.down:input", np.tanh(past @ up), text)
            x = self.edited(f"layers.{i}", x + neurons @ down, text)
            shown |= {f"layers.{i}.down:input": neurons, f"layers.{i}": x}
        return shown

    def edited(self, name: str, x: np.ndarray, text: str) -> np.ndarray:
        site = next(site for site in self.sites.sites if site.name == name)
        return self._edits.of(site, x[None], [text])[0]

    def pooled(self, stimuli: Sequence[Stimulus], layout: Layout) -> np.ndarray:
        shown = [self.forward(str(stimulus.content)) for stimulus in stimuli]
        return np.stack(
            [np.concatenate([s[site.name].mean(0) for site in layout.sites]) for s in shown]
        )

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, _: Readout
    ) -> Iterator[Batch]:
        yield Batch(np.arange(len(stimuli)), self.pooled(stimuli, layout))

    def positions(
        self, stimuli: Sequence[Stimulus], layout: Layout, _: Readout
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for number, stimulus in enumerate(stimuli):
            shown = self.forward(str(stimulus.content))
            yield number, {site.name: shown[site.name] for site in layout.sites}

    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        with self._edits.applied(ablation):
            yield

    def tokenization(self, stimuli: Sequence[Stimulus], _: Readout) -> Tokenization:
        n = np.array([len(str(stimulus.content)) for stimulus in stimuli])
        return Tokenization(n, n, None, np.zeros(len(n), dtype=bool))

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        return [self.scored(request) for request in requests]

    def scored(self, request: TextRequest) -> TextScore:
        text = request.prompt + request.completion
        logits = self.forward(text)["layers.2"] @ self.unembedding
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        targets = range(max(len(request.prompt), 1), len(text))
        total = sum(logprobs[i - 1, LETTERS.find(text[i])] for i in targets)
        return TextScore(float(total), len(targets), greedy=False)

    def generate(self, prompt: str, sampling: Sampling) -> str:
        text, rng = prompt, np.random.default_rng(sampling.seed)
        for _ in range(sampling.max_tokens):
            logits = self.forward(text)["layers.2"][-1] @ self.unembedding
            noise = rng.gumbel(size=27) * sampling.temperature
            text += LETTERS[int((logits + noise).argmax())]
        return text.removeprefix(prompt)

    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        shown = [self.forward(str(stimulus.content))["layers.2"] for stimulus in stimuli]
        features = np.stack([x.mean(0) for x in shown])
        return Predictions((features @ self.classifier).astype("f4"), features.astype("f4"))


def load(options: ModelOptions) -> Adapter:
    adapter = Chain(1 if options.untrained else 0)
    adapter.identity = {**adapter.identity, "weights": f"untrained: {options.untrained}"}
    return adapter


class Nameless(Chain):
    identity = {"model": "chain"}


class LosesOne(Chain):
    def activations(self, stimuli: Sequence[Stimulus], *args: Any) -> Iterator[Batch]:
        yield from super().activations(stimuli[1:], *args)


class Drifts(Chain):
    calls = 0

    def pooled(self, *args: Any) -> np.ndarray:
        self.calls += 1
        return super().pooled(*args) + self.calls


class CountsStimuli(Chain):
    def pooled(self, stimuli: Sequence[Stimulus], layout: Layout) -> np.ndarray:
        return super().pooled(stimuli, layout) + 0.1 * (len(stimuli) - len(TEXTS))


class SeesPadding(Chain):
    def pooled(self, stimuli: Sequence[Stimulus], layout: Layout) -> np.ndarray:
        among_all, here = (max(len(str(s.content)) for s in group) for group in (TEXTS, stimuli))
        return super().pooled(stimuli, layout) + 0.1 * (here - among_all)


class SortsWholeBatches(Chain):
    def pooled(self, stimuli: Sequence[Stimulus], layout: Layout) -> np.ndarray:
        if len(stimuli) == len(TEXTS):
            stimuli = sorted(stimuli, key=lambda stimulus: stimulus.id)
        return super().pooled(stimuli, layout)


class ScalesOneSite(Chain):
    def pooled(self, stimuli: Sequence[Stimulus], layout: Layout) -> np.ndarray:
        return super().pooled(stimuli, layout) * (1.1 if len(layout.sites) == 1 else 1)


class ForgetsPositions(Chain):
    def positions(self, *args: Any) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for number, shown in super().positions(*args):
            yield number, {name: x[: max(1, len(x) - 1)] for name, x in shown.items()}


class TurnsPositionsAround(Chain):
    def positions(
        self, stimuli: Sequence[Stimulus], *args: Any
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        step = 1 if len(stimuli) == 1 else -1
        for number, shown in super().positions(stimuli, *args):
            yield number, {name: x[::step] for name, x in shown.items()}


class EditsOtherwise(Chain):
    """Does to the model what `changed` makes of an ablation."""

    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        edit = self.changed(ablation) if isinstance(ablation, Ablation) else ablation
        with super().ablated(edit):
            yield

    def changed(self, ablation: Ablation) -> Edit:
        raise NotImplementedError

    def only(self, ablation: Ablation) -> int | None:
        """Return the one unit of a mask that has one."""
        units = np.flatnonzero(ablation.mask.selected)
        return int(units[0]) if len(units) == 1 and ablation.mask.layout == self.sites else None


class TouchesNothing(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        if ablation.mask.selected.any():
            return ablation
        return Ablation(replace(ablation.mask, selected=~ablation.mask.selected), gain=1 + 1e-12)


class AlmostZero(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        is_zero = ablation.gain == 0 and ablation.offset is None
        return replace(ablation, gain=1e-3) if is_zero else ablation


class HalfOffset(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        if ablation.offset is None or self.only(ablation) is None:
            return ablation
        return replace(ablation, offset=ablation.offset / 2)


class InverseGain(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        return replace(ablation, gain=1 / ablation.gain) if ablation.gain else ablation


class LeavesOneSiteOut(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        mask = ablation.mask
        if mask.layout != self.sites or not mask.at("layers.2").any():
            return ablation
        selected = mask.selected.copy()
        selected[self.sites.slices["layers.1"]] = False
        return replace(ablation, mask=UnitMask(mask.layout, selected))


class Spills(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        unit = self.only(ablation)
        if unit is None or ablation.offset is None:
            return ablation
        site = next(s for s in self.sites.slices.values() if s.start <= unit < s.stop)
        selected = np.arange(self.sites.n_units) == (
            unit + 1 if unit + 1 < site.stop else site.start
        )
        return replace(ablation, mask=UnitMask(self.sites, selected | ablation.mask.selected))


class ReachesBack(EditsOtherwise):
    def changed(self, ablation: Ablation) -> Edit:
        unit = self.only(ablation)
        if (
            unit is None
            or unit < self.sites.slices["layers.2"].start
            or ablation.offset is not None
        ):
            return ablation
        selected = ablation.mask.selected | (np.arange(self.sites.n_units) == 0)
        return replace(ablation, mask=UnitMask(self.sites, selected))


class EditsACopy(Chain):
    """Shows edited neurons, and computes with those that are not."""

    def edited(self, name: str, x: np.ndarray, text: str) -> np.ndarray:
        return x if name.endswith(":input") else super().edited(name, x, text)

    def forward(self, text: str) -> dict[str, np.ndarray]:
        shown = super().forward(text)
        for name in shown:
            if name.endswith(":input"):
                shown[name] = super().edited(name, shown[name], text)
        return shown


class ScoresStayAblated(Chain):
    left: Edit | None = None

    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        with super().ablated(ablation):
            yield
        self.left = ablation

    def score(self, requests: Sequence[TextRequest]) -> list[TextScore]:
        if self.left is None:
            return super().score(requests)
        with super().ablated(self.left):
            return super().score(requests)


class FeaturesOverflow(Chain):
    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        right = super().classify(stimuli)
        return Predictions(right.logits, right.features / np.float32(0))


class OutlivesExceptions(Chain):
    left: Edit | None = None

    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        try:
            with super().ablated(ablation):
                yield
        except MaskError:
            raise
        except Exception:
            self.left = ablation
            raise

    def pooled(self, *args: Any) -> np.ndarray:
        left, self.left = self.left, None
        if left is None:
            return super().pooled(*args)
        with super().ablated(left):
            return super().pooled(*args)


@dataclass(frozen=True)
class Renumbered:
    """An edit that is told a number of the batch, not of what the stimuli show."""

    edit: Edit
    key: str = "renumbered"

    @property
    def mask(self) -> UnitMask:
        return self.edit.mask

    def edited(self, site: str, values: np.ndarray, shown: ForwardPass) -> np.ndarray:
        return self.edit.edited(site, values, ForwardPass(0, tuple(range(len(shown.stimuli)))))


class NumbersRows(Chain):
    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        with super().ablated(Renumbered(ablation)):
            yield


class TakesAnyMask(Chain):
    @contextmanager
    def ablated(self, ablation: Edit) -> Iterator[None]:
        try:
            with super().ablated(ablation):
                yield
        except MaskError:
            yield


class KeepsTooMuch(Chain):
    def tokenization(self, *args: Any) -> Tokenization:
        told = super().tokenization(*args)
        return replace(told, kept=told.kept + 1)


class ScoresOneTooMany(Chain):
    def scored(self, request: TextRequest) -> TextScore:
        right = super().scored(request)
        return replace(right, logprob=right.logprob - 1)


class RepeatsThePrompt(Chain):
    def generate(self, prompt: str, sampling: Sampling) -> str:
        return prompt + super().generate(prompt, sampling)


class ClassifiesIntact(Chain):
    def classify(self, stimuli: Sequence[Stimulus]) -> Predictions:
        before, self._edits = self._edits, Edits(self.sites, "chain")
        try:
            return super().classify(stimuli)
        finally:
            self._edits = before


def loads_other_sites(options: ModelOptions) -> Adapter:
    adapter = load(options)
    adapter.sites = Layout(adapter.sites.sites[:-1])
    return adapter


def loads_the_same(_: ModelOptions) -> Adapter:
    return load(ModelOptions())


BROKEN: Mapping[str, tuple[type[Chain], Callable[[ModelOptions], Adapter] | None]] = {
    "description": (Nameless, None),
    "stable-sites": (Chain, loads_other_sites),
    "untrained": (Chain, loads_the_same),
    "batches": (LosesOne, None),
    "deterministic": (Drifts, None),
    "batch-size": (CountsStimuli, None),
    "neighbours": (SeesPadding, None),
    "order": (SortsWholeBatches, None),
    "site-alone": (ScalesOneSite, None),
    "positions": (ForgetsPositions, None),
    "position-batches": (TurnsPositionsAround, None),
    "no-units": (TouchesNothing, None),
    "after-exception": (OutlivesExceptions, None),
    "other-units": (Spills, None),
    "earlier-sites": (ReachesBack, None),
    "zero": (AlmostZero, None),
    "offset": (HalfOffset, None),
    "scale": (InverseGain, None),
    "every-site": (LeavesOneSiteOut, None),
    "effect": (EditsACopy, None),
    "forward-pass": (NumbersRows, None),
    "foreign-mask": (TakesAnyMask, None),
    "tokenization": (KeepsTooMuch, None),
    "score": (ScoresOneTooMany, None),
    "generate": (RepeatsThePrompt, None),
    "classify": (ClassifiesIntact, None),
}


def failed(adapter: Adapter, loader: Callable[[ModelOptions], Adapter] | None) -> list[str]:
    outcomes = run_checks(adapter, TEXTS, load=loader)
    return [outcome.name for outcome in outcomes if outcome.state == "failed"]


def test_every_check_has_an_adapter_that_breaks_it() -> None:
    """No check is without proof that it can fail."""
    assert list(BROKEN) == [check.name for check in CHECKS]


@pytest.mark.parametrize("name", BROKEN)
def test_an_adapter_that_breaks_one_promise_fails_that_check_only(name: str) -> None:
    """Each check fails on the adapter that breaks its promise, and no other check does."""
    adapter, loader = BROKEN[name]
    chosen = adapter() if loader is None else load(ModelOptions())

    assert failed(chosen, loader) == [name]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_right_adapter_passes_every_check(check: Any) -> None:
    """The form for pytest: one test for every promise."""
    check(load(ModelOptions()), TEXTS, load=load)


def test_nothing_is_skipped_of_an_adapter_with_every_ability() -> None:
    """Each outcome is ok, and says what is promised."""
    outcomes = run_checks(load(ModelOptions()), TEXTS, load=load)

    assert {outcome.state for outcome in outcomes} == {"ok"}
    assert all(outcome.promise for outcome in outcomes)


def test_what_rests_on_a_broken_promise_is_skipped() -> None:
    """An adapter that loses a stimulus is told so once."""
    outcomes = {o.name: o for o in run_checks(LosesOne(), TEXTS)}

    assert outcomes["batches"].reason == "a stimulus is left out or read twice"
    assert outcomes["deterministic"].reason == "it rests on 'batches', which is failed"
    assert outcomes["zero"].reason == "it rests on 'deterministic', which is skipped"


@pytest.mark.parametrize(
    ("name", "adapter", "reason"),
    [
        ("effect", ScoresStayAblated, "an ablation outlives its context"),
        ("classify", FeaturesOverflow, "features are not finite"),
    ],
)
def test_a_check_fails_for_each_of_its_reasons(
    name: str, adapter: type[Chain], reason: str
) -> None:
    """What an ablation leaves behind in scores; features that overflow."""
    (check,) = [check for check in CHECKS if check.name == name]

    with pytest.raises(AssertionError, match=reason), np.errstate(divide="ignore"):
        check(adapter(), TEXTS)


def test_an_exception_of_the_adapter_is_a_failure() -> None:
    """Code that raises is named, and the other checks go on."""

    class Raises(Chain):
        def generate(self, *_: Any) -> str:
            raise KeyError("end_token")

    outcomes = {o.name: o for o in run_checks(Raises(), TEXTS)}

    assert outcomes["generate"].reason == "KeyError: 'end_token'"
    assert outcomes["classify"].state == "ok"


def test_check_adapter_raises_the_first_failure() -> None:
    """From Python one call does all."""
    check_adapter(load(ModelOptions()), TEXTS)
    with pytest.raises(AssertionError, match=r"does not follow the protocol .*read twice"):
        check_adapter(LosesOne(), TEXTS)


def test_stimuli_are_chosen_by_what_the_adapter_takes() -> None:
    """Texts where they can be read, else images; why, where neither can."""

    class OnlyImages(Chain):
        def forward(self, text: str) -> dict[str, np.ndarray]:
            Path(text).read_bytes()
            return super().forward("image")

    class Neither(Chain):
        def forward(self, _: str) -> dict[str, np.ndarray]:
            raise ValueError("a molecule is expected")

    readout = Readout(pool="mean")

    assert stimuli_for(Chain(), readout) == check_texts()
    assert stimuli_for(OnlyImages(), readout) == check_images()
    with pytest.raises(AdapterError, match=r"neither texts nor images .*a molecule is expected"):
        stimuli_for(Neither(), readout)


FOREIGN = """\
import numpy as np
from deeploc.testing import ToyAdapter

class Loses(ToyAdapter):
    def activations(self, stimuli, *args):
        yield from super().activations(stimuli[1:], *args)

plugins = {
    "adapters": {
        "right": lambda name, options: ToyAdapter(),
        "loses": lambda name, options: Loses(),
        "raises": lambda name, options: {}[name],
        "other": lambda name, options: 3,
    }
}
"""


def check_command(tmp_path: Path, *args: str) -> Any:
    (tmp_path / "toys.py").write_text(FOREIGN)
    return CliRunner().invoke(main, ["check-adapter", *args, "--plugin", str(tmp_path / "toys.py")])


def test_the_command_names_what_is_broken(tmp_path: Path) -> None:
    """A line for each check, exit code 1 where one fails, within 80 columns."""
    result = check_command(tmp_path, "loses:x")

    assert result.exit_code == 1
    assert "batches           failed   a stimulus is left out or read twice\n" in result.output
    assert result.output.splitlines()[-1] == "loses:x: broken: untrained, batches"
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_command_prints_json(tmp_path: Path) -> None:
    """With --json: the checks with state and reason; an adapter needs no name of a model."""
    result = check_command(tmp_path, "right", "--json")
    printed = json.loads(result.output)

    assert [check["name"] for check in printed["checks"]] == [check.name for check in CHECKS]
    assert {c["name"] for c in printed["checks"] if c["state"] == "failed"} == {"untrained"}
    assert (printed["passed"], result.exit_code) == (False, 1)


def test_the_command_takes_stimuli_of_its_own(tmp_path: Path) -> None:
    """A .txt file with a text on every line; one with a single text is refused."""
    (tmp_path / "own.txt").write_text("acgt\nacg\ngg\nttta\n")
    (tmp_path / "one.txt").write_text("acgt\n")
    enough = check_command(tmp_path, "right", "--stimuli", str(tmp_path / "own.txt"))
    few = check_command(tmp_path, "right", "--stimuli", str(tmp_path / "one.txt"))

    assert enough.output.splitlines()[-1] == "right: broken: untrained"
    assert few.exit_code == 1
    assert "has no two texts" in few.output


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("raises:x", "failed: KeyError: 'x' (line 12)"),
        ("other:x", "returned int 3; it must return an adapter, e.g. deeploc.wrap(module"),
        ("rigth:x", "no plugin named 'rigth' in deeploc.adapters; did you mean 'right'?"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_is_one_line(
    adapter: str, message: str, tmp_path: Path
) -> None:
    """The line names the plugin, and of its own mistakes the line of the file."""
    result = check_command(tmp_path, adapter)

    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count("\n") == 1
