from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deeploc.adapters._torch.batching import bucketed, each_batch, padded
from deeploc.adapters._torch.pool import pooling
from deeploc.adapters._torch.read import read_batch, read_positions
from deeploc.core.units import Layout, Site
from deeploc.errors import AdapterError

LAYOUT = Layout((Site("block", "block", 2),))


@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=60),
    st.integers(1, 300),
    st.none() | st.integers(1, 9),
)
def test_batches_hold_every_stimulus_once_within_bounds(
    lengths: list[int], positions: int, bound: int | None
) -> None:
    """For all lengths: nothing lost or doubled, bounds kept, at most 2 % padding."""
    array = np.array(lengths)
    batches = bucketed(array, positions, bound)

    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        room = len(batch) * array[batch].max()
        assert len(batch) <= (bound or len(lengths))
        assert len(batch) == 1 or room <= positions
        assert room - array[batch].sum() <= 0.02 * room


def test_equal_lengths_share_batches() -> None:
    """480 stimuli of 12 tokens at 960 positions make 6 batches of 80."""
    assert [len(batch) for batch in bucketed(np.full(480, 12), 960)] == [80] * 6


def test_padding_is_on_the_right() -> None:
    """Short rows are filled up at the end; no mask where nothing was filled."""
    ids, attended = padded([np.array([5, 6, 7]), np.array([8])])
    _, unpadded = padded([np.array([5, 6]), np.array([8, 9])])

    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert attended is not None
    assert attended.tolist() == [[True, True, True], [True, False, False]]
    assert unpadded is None


def test_out_of_memory_halves_the_batch() -> None:
    """A batch too large is split until it fits; every stimulus is still read once, in order."""

    def run(indices: np.ndarray) -> int:
        if len(indices) > 2:
            raise torch.OutOfMemoryError("no memory")
        return len(indices)

    sizes = [(i.tolist(), n) for i, n in each_batch([np.arange(7), np.arange(7, 9)], run)]

    assert [i for batch, _ in sizes for i in batch] == list(range(9))
    assert max(n for _, n in sizes) <= 2


def test_out_of_memory_on_one_stimulus_is_an_error() -> None:
    """There is nothing left to halve: one line that says what helps."""

    def run(_: np.ndarray) -> int:
        raise torch.OutOfMemoryError("no memory\nlong story")

    with pytest.raises(AdapterError, match=r"single stimulus \(no memory\); use a smaller model"):
        list(each_batch([np.arange(2)], run))


VALID = torch.tensor([[True, True, False], [False, True, True]])
X = torch.tensor([[[1.0], [4.0], [9.0]], [[8.0], [2.0], [-6.0]]])


@pytest.mark.parametrize(
    ("name", "expected", "unmasked"),
    [
        ("last", [4.0, -6.0], [9.0, -6.0]),
        ("mean", [2.5, -2.0], [14 / 3, 4 / 3]),
        ("max", [4, 2], [9, 8]),
    ],
)
def test_pools_see_valid_positions_only(
    name: str, expected: list[float], unmasked: list[float]
) -> None:
    """Padding on either side is left out, also where it holds nan."""
    spoilt = X.masked_fill(~VALID.unsqueeze(-1), torch.nan)

    assert pooling(name, LAYOUT)(X, VALID).flatten().tolist() == expected
    assert pooling(name, LAYOUT)(spoilt, VALID).flatten().tolist() == expected
    assert pooling(name, LAYOUT)(X, None).flatten().tolist() == pytest.approx(unmasked)


@pytest.mark.parametrize("name", ["last", "mean", "max"])
def test_half_precision_leaves_as_float32(name: str) -> None:
    """256 + 1 is lost in bfloat16; a mean over positions accumulates in float32."""
    x = torch.full((1, 512, 1), 1.0, dtype=torch.bfloat16)
    pooled = pooling(name, LAYOUT)(x, torch.ones(1, 512, dtype=torch.bool))

    assert pooled.dtype == torch.float32
    assert pooled.item() == 1.0


@pytest.mark.parametrize("pool", ["last", "mean", "max", "positions"])
def test_what_a_model_writes_later_is_not_read(pool: str) -> None:
    """A module that adds to its own tensor after it was read, as Falcon's MLP does."""

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner(x)
            x += 100
            return x

    model, layout = Adds(), Layout((Site("inner", "block", 1),))
    run = partial(model, X.clone())
    if pool == "positions":
        read = np.stack([row["inner"] for row in read_positions(model, layout, run, n_stimuli=2)])
        np.testing.assert_array_equal(read, X)
    else:
        read = read_batch(model, layout, run, pool=pooling(pool, layout), n_stimuli=2)
        np.testing.assert_array_equal(read, pooling(pool, layout)(X, None))


def test_unknown_pool_is_refused() -> None:
    """The pools of image models do not apply to text."""
    with pytest.raises(AdapterError, match=r"pool 'cls' does not apply .* last, mean, max"):
        pooling("cls", LAYOUT)
