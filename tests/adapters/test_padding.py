"""Wrapped networks that read padding: no text reads otherwise beside a longer one than alone."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import deeploc
from deeploc.adapters._torch.batching import alike
from deeploc.core.ablation import Ablation
from deeploc.core.readout import Readout
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError, SiteError
from deeploc.testing.stimuli import stimuli_for

from .conftest import texts, values_of
from .test_attribution import all_of, by_example
from .test_layers import Packed, Recurrent, letters, with_mask
from .test_module import Reader, characters, left

TEXTS = texts(["abca", "be", "cabbage", "dad", "fed", "f", "abc abc abc"])


def left_padded(contents: Sequence[Any]) -> Tensor:
    rows = [row[row > 0].flip(0) for row in letters(contents)]
    return pad_sequence(rows, batch_first=True).flip(1)


def of_tuple(contents: Sequence[Any]) -> tuple[Tensor, ...]:
    return (letters(contents),)


def stacked(contents: Sequence[Any]) -> Tensor:
    """Return ids of texts that are equally long; any others cannot be put together."""
    return torch.stack([letters([content])[0] for content in contents])


class Ends(nn.Module):
    """A classifier of the last character, which is padding where no mask says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.head = Reader(), nn.Linear(8, 3)

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.head(self.reader(codes).tanh().cumsum(dim=1)[:, -1])
        return scores


class Beside(nn.Module):
    """Every text is read less the mean of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.fc, self.head = nn.Embedding(27, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.emb(ids)
        return self.head(self.fc(x + len(x)).relu())


def causal(**options: Any) -> nn.Module:
    return Recurrent(nn.GRU, **options)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Any]]] = {
    "no mask": (causal, letters),
    "no mask, left": (causal, left_padded),
    "no mask, tuple": (causal, of_tuple),
    "a mask that forward does not take": (lambda: causal(bidirectional=True), with_mask),
    "packed, no mask": (Packed, letters),
    "stacked": (causal, stacked),
}


def wrapped(name: str, **options: Any) -> Any:
    make, preprocess = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return deeploc.wrap(make(), preprocess=preprocess, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_texts_read_as_they_do_alone(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """With every pool and at every position; one line says so once."""
    together, alone = wrapped(name), wrapped(name, batch_size=1)
    layout = together.sites
    with caplog.at_level(logging.WARNING):
        for pool in ("last", "mean", "max"):
            rows = values_of(together, TEXTS, layout, pool=pool)
            np.testing.assert_allclose(rows, values_of(alone, TEXTS, layout, pool=pool), atol=1e-6)
    shown = [dict(a.positions(TEXTS, layout, Readout())) for a in (together, alone)]
    for number in range(len(TEXTS)):
        for site in layout.sites:
            one, other = (rows[number][site.name] for rows in shown)
            np.testing.assert_allclose(one, other, atol=1e-6)

    (line,) = [record.getMessage() for record in caplog.records]
    assert "reads padding" in line
    assert "let preprocess return `attention_mask`" in line


@pytest.mark.parametrize("preprocess", [characters, left])
def test_what_reads_no_padding_reads_any_texts_together(
    preprocess: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said, batches are in order, and finding out takes six passes of short texts."""
    module = Reader()
    sizes: list[int] = []
    adapter: Any = deeploc.wrap(module, preprocess=preprocess)
    layout = adapter.sites

    def note(_module: nn.Module, _args: Any, given: Mapping[str, Any]) -> None:
        sizes.append(len(given["codes"]))

    module.register_forward_pre_hook(note, with_kwargs=True)
    for _ in range(3):
        batches = list(adapter.activations(TEXTS, layout, Readout()))

    assert [batch.indices.tolist() for batch in batches] == [list(range(len(TEXTS)))]
    assert not caplog.records
    assert sizes.count(len(TEXTS)) == 3
    assert len(sizes) <= 3 + 6


def test_the_mask_is_passed_on_only_to_a_forward_that_takes_it() -> None:
    """By name or among any keywords; it says where texts end in either case."""
    seen: list[set[str]] = []

    class Noting(Reader):
        def forward(self, codes: Tensor, **more: Tensor) -> Tensor:
            seen.append(set(more))
            return super().forward(codes)

    for module in (Reader(), Noting()):
        adapter = deeploc.wrap(module, preprocess=characters)
        alone = deeploc.wrap(module, preprocess=characters, batch_size=1)
        rows = [values_of(a, TEXTS, adapter.sites, pool="mean") for a in (adapter, alone)]
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)
    assert {"attention_mask"} in seen


def test_texts_beyond_the_example_tell_where_the_example_does_not() -> None:
    """A preprocess that takes no repeated example: the stimuli themselves are compared."""

    def strict(contents: Sequence[Any]) -> Tensor:
        if any(len(str(content)) > 11 or " " in str(content)[1:3] for content in contents):
            raise ValueError("no such text")
        return letters(contents)

    module = causal()
    together = deeploc.wrap(module, preprocess=strict, example=["abcdefg"])
    alone = deeploc.wrap(module, preprocess=strict, example=["abcdefg"], batch_size=1)
    rows = [values_of(a, TEXTS, together.sites, pool="last") for a in (together, alone)]

    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_files_of_unlike_lengths_tell_by_their_contents(tmp_path: Path) -> None:
    """Where stimuli are files, some of the smallest and largest are looked at."""
    files = []
    for number, n in enumerate([3, 5, 3, 9, 4, 5, 3, 12, 7, 3]):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text("abcdefghijkl"[:n])

    def read(contents: Sequence[Any]) -> Tensor:
        return letters([Path(content).read_text() for content in contents])

    stimuli = [deeploc.Stimulus(file.name, file) for file in files]
    module = causal()
    together, alone = (
        deeploc.wrap(module, preprocess=read, example=files[:1], batch_size=size)
        for size in (None, 1)
    )
    rows = [values_of(a, stimuli, together.sites, pool="last") for a in (together, alone)]

    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_a_network_that_mixes_stimuli_reads_them_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Equal lengths are not enough where a text reads otherwise beside itself."""
    module = Beside()
    together = deeploc.wrap(module, preprocess=letters)
    alone = deeploc.wrap(module, preprocess=letters, batch_size=1)
    rows = [values_of(a, TEXTS, together.sites, pool="last") for a in (together, alone)]

    np.testing.assert_array_equal(rows[0], rows[1])
    assert "are read one by one" in caplog.text


def test_what_is_found_under_an_ablation_is_found_before_it() -> None:
    """Where all units are silenced any text reads as it does alone: that proves nothing."""
    adapter = wrapped("no mask")
    alone = wrapped("no mask", batch_size=1)
    layout = adapter.sites
    mask = UnitMask(layout, np.ones(layout.n_units, dtype=bool))
    with adapter.ablated(Ablation(mask)):
        assert not values_of(adapter, TEXTS, layout, pool="last").any()
    rows = [values_of(a, TEXTS, layout, pool="last") for a in (adapter, alone)]

    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_gradients_of_a_loss_are_those_of_the_text_alone() -> None:
    """The output reads padding: effects and losses are still those of every text alone."""

    def codes(contents: Sequence[Any]) -> Mapping[str, Any]:
        return {"codes": characters(contents)["codes"]}

    def effects(size: int | None) -> tuple[Any, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = Ends().double()
        names = ("noun", "verb", "other")
        adapter: Any = deeploc.wrap(module, preprocess=codes, classes=names, batch_size=size)
        layout = adapter.sites
        found = adapter.attributions(TEXTS, all_of(layout), Readout(pool="mean"))
        return by_example(found, len(TEXTS), layout.n_units)

    for together, alone in zip(effects(None), effects(1), strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-9)


def test_batches_of_equal_keys_hold_every_stimulus_once() -> None:
    """At most as many as are asked for, and never two keys."""
    keys = [3, 5, 3, 3, 4, 5, 3]
    batches = [batch.tolist() for batch in alike(keys, 2)]

    assert batches == [[0, 2], [3, 6], [1, 5], [4]]
    assert alike([], 2) == []


# modules that are called once per token


class Loop(nn.Module):
    """A cell that is called for every token."""

    def __init__(self, *, normalized: bool = True) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(128, 6), nn.GRUCell(6, 5), nn.Linear(5, 3)
        self.norm = nn.LayerNorm(5) if normalized else None

    def forward(self, codes: Tensor) -> Tensor:
        state, states = torch.zeros(len(codes), 5), []
        for column in codes.T:
            state = self.cell(self.embed(column), state)
            states.append(state)
        x = torch.stack(states, dim=1)
        scores: Tensor = self.head(x if self.norm is None else self.norm(x))
        return scores


def test_modules_called_once_per_token_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A line says so, and what is called once for a text is read in their place."""
    adapter = deeploc.wrap(Loop(), preprocess=characters)
    bare = deeploc.wrap(Loop(normalized=False), preprocess=characters)

    assert [site.name for site in adapter.sites.sites] == ["norm"]
    assert [site.name for site in bare.sites.sites] == ["head"]
    line = caplog.messages[0]
    assert line.startswith("2 of 2 sites are left out: site embed: its module is called 5 or 47")
    assert line.endswith("depend on the length of the text; read instead: norm")
    rows = values_of(adapter, TEXTS, adapter.sites, pool="mean")
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("name", ["cell", "embed", "cell:input", "cell#2"])
def test_naming_one_says_which_other_works(name: str) -> None:
    """When it is wrapped, and by name later; the site that the error names can be read."""
    message = r"depend on the length of the text; name another site, e\.g\. norm$"
    with pytest.raises(AdapterError, match=message):
        deeploc.wrap(Loop(), preprocess=characters, sites=[name])
    adapter: Any = deeploc.wrap(Loop(), preprocess=characters)
    with pytest.raises(AdapterError, match=message):
        adapter.named([name])
    layout = adapter.named(["norm"])

    assert np.isfinite(values_of(adapter, TEXTS, layout, pool="last")).all()


def test_loops_of_a_fixed_number_stay_sites() -> None:
    """Where every text has as many tokens every call is one, as in any looped network."""

    def first_three(contents: Sequence[Any]) -> Tensor:
        return torch.tensor([[ord(c) for c in f"{content}   "[:3]] for content in contents])

    sites = deeploc.wrap(Loop(), preprocess=first_three).sites.sites

    assert [site.name for site in sites if site.path == "cell"] == ["cell#1", "cell#2", "cell#3"]


def test_the_kit_does_not_ask_for_other_stimuli_where_none_would_do() -> None:
    """Found with texts of one length only, the calls of a cell differ for any other."""

    def short(contents: Sequence[Any]) -> Mapping[str, Any]:
        if any("abc" in content[1:] for content in contents):
            raise ValueError("no such text")
        return characters(contents)

    adapter = deeploc.wrap(Loop(), preprocess=short, example=["abc"])
    with pytest.raises(
        SiteError, match=r"^site .*#1: its module was called .* but 3 times"
    ) as told:
        stimuli_for(adapter, Readout(pool="mean"))

    assert "--stimuli" not in str(told.value)
    assert "name another site" in str(told.value)
