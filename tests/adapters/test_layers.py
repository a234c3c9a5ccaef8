"""Networks of one's own without repeated blocks: recurrent layers, embeddings, plain stacks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.rnn import pack_padded_sequence

import deeploc
from deeploc.adapters._torch.recurrent import replace_packed
from deeploc.core.ablation import Ablation, ForwardPass
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError

from .conftest import hooks_of, texts, values_of

TEXTS = ["abca", "be", "cabbage", "dad", "f"]
EQUAL = ["abc", "bed", "cab", "dad", "fee"]


def letters(contents: Sequence[Any]) -> Tensor:
    """Return ids (text, position) of letters; 0, no letter, stands beyond the end."""
    rows = [torch.tensor([ord(c) - ord("a") + 1 for c in str(x) if c.isalpha()]) for x in contents]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def with_mask(contents: Sequence[Any]) -> dict[str, Tensor]:
    ids = letters(contents)
    return {"ids": ids, "attention_mask": (ids > 0).long()}


def numbers(contents: Sequence[Any]) -> Tensor:
    return torch.tensor([[len(str(c)), str(c).count("a"), hash_of(str(c)), 1.0] for c in contents])


def hash_of(text: str) -> float:
    return sum(ord(c) * (i + 1) for i, c in enumerate(text)) / 1000


class Recurrent(nn.Module):
    """An embedding, a recurrent layer, and a classifier of its last output."""

    def __init__(self, cell: type[nn.RNNBase] = nn.LSTM, *, time_first: bool = False, **size: Any):
        super().__init__()
        self.emb = nn.Embedding(27, 6)
        self.rnn = cell(6, 5, batch_first=not time_first, **size)  # type: ignore[call-arg]
        self.fc = nn.Linear(5 * (1 + self.rnn.bidirectional), 4)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Any:
        x = self.emb(ids)
        out, _ = self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))
        last = out[:, -1] if self.rnn.batch_first else out[-1]
        return self.head(self.act(self.fc(last)))


class Packed(Recurrent):
    """The same with packed sequences, whose order is that of their lengths."""

    def forward(self, ids: Tensor) -> Any:
        lengths = (ids > 0).sum(dim=1)
        packed = pack_padded_sequence(self.emb(ids), lengths, True, enforce_sorted=False)
        _, state = self.rnn(packed)
        hidden = state[0] if isinstance(state, tuple) else state
        return self.head(self.act(self.fc(hidden[-1])))


class Functions(nn.Module):
    """A perceptron whose activations are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 7), nn.Linear(7, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(relu(self.second(relu(self.first(x)))))


class Towers(nn.Module):
    """Two stacks side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3))
        self.b = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        self.join = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([self.a(x), self.b(-x)], dim=1))


class Convolution(nn.Module):
    """A convolution over positions of text, which stand last in its output."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.conv = nn.Embedding(27, 6), nn.Conv1d(6, 5, 3, padding=1)
        self.head = nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(relu(self.conv(self.emb(ids).transpose(1, 2))).amax(dim=2))


class Bag(nn.Module):
    """The mean of embeddings, then layers."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.fc, self.head = nn.EmbeddingBag(27, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.fc(self.emb(ids))))


PERCEPTRON = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5), nn.Dropout(), nn.GELU(), nn.Linear(5, 2)]
NETWORKS: dict[str, tuple[Any, Any, dict[str, tuple[str, int]]]] = {
    "lstm": (
        Recurrent,
        letters,
        {"emb": ("embedding", 6), "rnn": ("block", 5), "act": ("block", 4)},
    ),
    "two-way gru, time first": (
        lambda: Recurrent(nn.GRU, time_first=True, bidirectional=True, num_layers=2),
        letters,
        {"emb": ("embedding", 6), "rnn": ("block", 10), "act": ("block", 4)},
    ),
    "packed": (
        lambda: Packed(nn.RNN),
        with_mask,
        {"emb": ("embedding", 6), "rnn": ("block", 5), "act": ("block", 4)},
    ),
    "perceptron": (
        lambda: nn.Sequential(*PERCEPTRON),
        numbers,
        {"1": ("block", 8), "4": ("block", 5)},
    ),
    "functions": (Functions, numbers, {"first": ("block", 7), "second": ("block", 6)}),
    "towers": (
        Towers,
        numbers,
        {f"{t}.{i}": ("block", n) for t, i, n in
         (("a", 1, 9), ("a", 2, 3), ("b", 1, 8), ("b", 2, 3))},
    ),
    "convolution": (Convolution, letters, {"emb": ("embedding", 6), "conv": ("block", 5)}),
    "bag": (Bag, letters, {"emb": ("embedding", 6), "fc": ("block", 5)}),
}  # fmt: skip


def wrapped(name: str, **options: Any) -> Any:
    make, preprocess, _ = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return deeploc.wrap(make(), preprocess=preprocess, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_plain_to_see(name: str) -> None:
    """Each in the order of the pass, after its activation; not what makes the output."""
    found = {site.name: (site.kind, site.n_units) for site in wrapped(name).sites.sites}

    assert list(found.items()) == list(NETWORKS[name][2].items())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stimulus_reads_the_same_alone_and_in_a_batch(name: str) -> None:
    """At every site, with every pool; of unequal texts where the mask says where they end."""
    shown = texts(TEXTS if name == "packed" else EQUAL)
    for pool in ("last", "mean", "max"):
        together = wrapped(name, batch_size=5)
        alone = wrapped(name, batch_size=1)
        layout = together.sites
        rows = values_of(together, shown, layout, pool=pool)

        assert np.isfinite(rows).all()
        np.testing.assert_allclose(rows, values_of(alone, shown, layout, pool=pool), atol=1e-6)
        assert len(np.unique(rows.round(6), axis=0)) >= 4


@pytest.mark.parametrize("time_first", [False, True])
def test_recurrent_outputs_are_those_of_torch(time_first: bool) -> None:
    """The layer called by hand: the last and the mean output of every text."""
    network = Recurrent(nn.GRU, time_first=time_first).eval()
    adapter = deeploc.wrap(network, preprocess=letters, sites=["rnn", "emb"])
    with torch.no_grad():
        embedded = network.emb(letters(EQUAL))
        if time_first:
            out = network.rnn(embedded.transpose(0, 1))[0].transpose(0, 1)
        else:
            out = network.rnn(embedded)[0]
    expected = torch.cat([out, embedded], dim=2).numpy()
    read = {pool: values_of(adapter, texts(EQUAL), adapter.sites, pool=pool)
            for pool in ("last", "mean")}  # fmt: skip

    np.testing.assert_allclose(read["last"], expected[:, -1], atol=1e-6)
    np.testing.assert_allclose(read["mean"], expected.mean(axis=1), atol=1e-6)


class AtPosition:
    """An edit that depends on the position and on the stimulus, and notes what it is told."""

    key = "at position"

    def __init__(self, mask: UnitMask) -> None:
        self.mask = mask

    def edited(self, _: str, values: np.ndarray, forward_pass: ForwardPass) -> np.ndarray:
        positions = forward_pass.start + np.arange(values.shape[1])
        return np.broadcast_to(positions[None, :, None] + 0.5, values.shape)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("first", [False, True])
def test_edited_units_read_back_as_set(name: str, first: bool) -> None:
    """Position by position, the first one apart; the other units of the site are as before."""
    adapter = wrapped(name)
    shown = texts(TEXTS if name == "packed" else EQUAL)
    layout = adapter.sites
    before = hooks_of(adapter.module)
    readout = deeploc.Readout(pool="last")
    for site in layout.sites:
        mask = UnitMask(layout, np.zeros(layout.n_units, dtype=bool))
        mask.selected[layout.slices[site.name].start + np.arange(2)] = True
        fixed = np.full(layout.n_units, 7.0)
        edit = Ablation(mask, offset=fixed, first=fixed - 9) if first else AtPosition(mask)
        intact = dict(adapter.positions(shown, layout, readout))
        with adapter.ablated(edit):
            edited = dict(adapter.positions(shown, layout, readout))
        for number, rows in edited.items():
            row = rows[site.name]
            n = np.arange(len(row))
            expected = np.where(n == 0, -2.0, 7.0) if first else n + 0.5
            np.testing.assert_allclose(row[:, :2], np.stack([expected] * 2, axis=1))
            np.testing.assert_array_equal(row[:, 2:], intact[number][site.name][:, 2:])
    assert hooks_of(adapter.module) == before


def test_an_edit_of_a_recurrent_layer_reaches_what_follows() -> None:
    """The classifier sees other outputs; the recurrence itself goes on as before."""
    adapter = wrapped("lstm")
    layout = adapter.sites
    held = Ablation(UnitMask(layout, layout.of_kind("block")), offset=np.ones(layout.n_units))
    with adapter.ablated(held), torch.no_grad():
        logits = adapter.module(letters(EQUAL))

    np.testing.assert_allclose(logits, logits[:1].expand_as(logits))


def test_packed_sequences_come_back_as_they_were() -> None:
    """In the order of the batch, nan beyond an end; unpacked and packed again bit for bit."""
    rows = [torch.randn(n, 3) for n in (2, 5, 1, 5)]
    for ordered in (False, True):
        given = sorted(rows, key=len, reverse=True) if ordered else rows
        packed = nn.utils.rnn.pack_sequence(given, enforce_sorted=ordered)
        seen: list[Tensor] = []
        back = replace_packed(packed, lambda x, seen=seen: seen.append(x) or x * 1)  # type: ignore[misc]

        assert torch.equal(back.data, packed.data)
        assert torch.equal(back.batch_sizes, packed.batch_sizes)
        for row, padded in zip(given, seen[0], strict=True):
            assert torch.equal(padded[: len(row)], row)
            assert padded[len(row) :].isnan().all()
        assert replace_packed(packed, lambda _: None) is packed


def of_one_length(contents: Sequence[Any]) -> Tensor:
    """Return the ids of letters, padded to nine positions whatever the texts."""
    ids = letters(contents)
    return torch.cat([ids, ids.new_zeros(len(ids), 9 - ids.shape[1])], dim=1)


def test_packed_sequences_of_one_length_without_a_mask_are_refused() -> None:
    """Where texts end is not known: one line instead of numbers that mean nothing."""
    adapter = deeploc.wrap(Packed(), preprocess=of_one_length)

    with pytest.raises(AdapterError, match=r"packs sequences .* give `attention_mask`"):
        values_of(adapter, texts(TEXTS), adapter.sites, pool="last")


def test_what_takes_token_ids_has_no_input_to_read() -> None:
    """Its output is a site, its input are no activations."""
    with pytest.raises(AdapterError, match="module 'emb' takes or returns no activations"):
        wrapped("lstm", sites=["emb:input"])
    (site,) = wrapped("lstm", sites=["emb"]).sites.sites

    assert (site.name, site.n_units) == ("emb", 6)
