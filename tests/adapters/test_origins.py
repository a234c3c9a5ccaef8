"""Which rows of a source the rows of a tensor descend from."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from deeploc.adapters._torch.origins import Called, Origins

N, WIDTH = 6, 4
TAKEN = torch.tensor([4, 0, 4, 2])


class Following(TorchFunctionMode):
    """Follows the rows of one tensor."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.origins = Origins()
        self.origins[x] = torch.arange(len(x))

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        self.origins.follow(Called(func, args, kwargs or {}), result)
        return result


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "index": lambda x: x[TAKEN],
    "index with a new axis": lambda x: x[None, TAKEN].reshape(-1, WIDTH),
    "mask": lambda x: x[torch.arange(N) % 2 == 0],
    "slice": lambda x: x[1:5],
    "one of an index": lambda x: x[TAKEN[:1]],
    "repeat each": lambda x: x.repeat_interleave(2, dim=0),
    "repeat all": lambda x: x.repeat(3, 1).view(3, -1, WIDTH).flatten(0, 1),
    "select": lambda x: x.index_select(0, TAKEN),
    "halves": lambda x: torch.cat(x[TAKEN].split([3, 1])),
    "a column each": lambda x: x[TAKEN].unsqueeze(-1).squeeze(-1),
    "rows computed on": lambda x: torch.relu(x[TAKEN] @ torch.eye(WIDTH)) + 0.0,
    "every second unit": lambda x: x[TAKEN][..., 1::2],
    "other precision": lambda x: x[TAKEN].double(),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_rows_are_followed(move: Callable[[Tensor], Tensor]) -> None:
    """The numbers of the rows of a result say which rows of the source they were made from."""
    x = torch.arange(N, dtype=torch.float).unsqueeze(1).repeat(1, WIDTH)  # row i holds i
    mode = Following(x)
    with mode:
        result = move(x)

    assert torch.equal(mode.origins[result].flatten(), result[..., 0].flatten().long())


def test_rows_that_are_mixed_are_not_followed() -> None:
    """Of a product of two tensors with rows, as in attention, no row comes from one row."""
    x = torch.rand(N, WIDTH)
    mode = Following(x)
    with mode:
        mixed = (x @ x.mT).softmax(-1) @ x

    assert mixed not in mode.origins


def test_followed_tensors_are_not_kept_alive() -> None:
    """A tensor that the model no longer needs is freed."""
    x = torch.rand(N, WIDTH)
    mode = Following(x)
    with mode:
        result = x + 1
        assert len(mode.origins._numbers) == 2
        del result

    assert len(mode.origins._numbers) == 1
