"""How a model's activations become one number per unit and stimulus."""

from dataclasses import dataclass
from typing import Literal

from deeploc.contrast.fields import Read

Pool = Literal["last", "mean", "max", "cls", "none"]
Response = Literal["abs", "signed"]
Tokens = Literal["content", "all"]


@dataclass(frozen=True)
class Readout:
    """Where a model is read, and how its activations there become numbers.

    Parameters
    ----------
    sites
        Kinds of site, or globs over the names of sites.
    pool
        How positions become one number: the ``last`` one, their ``mean`` or ``max``, the class
        token (``cls``), or ``none``: every position is a unit of its own.
    response
        ``signed``: activations as they are; ``abs``: their absolute value.
    tokens
        ``content``: special tokens are not read, and the last token is the last that ends a word;
        ``all``: every attended token is read.
    max_tokens
        Texts are truncated after this many tokens, special ones counted; None: at the model's
        context length.
    """

    sites: tuple[str, ...] = ("block",)
    pool: Pool = "last"
    response: Response = "signed"
    tokens: Tokens = "content"
    max_tokens: int | None = None

    @classmethod
    def of(cls, read: Read) -> "Readout":
        """Return the read-out that a contrast file declares."""
        return cls(read.sites, read.pool, read.response, read.tokens, read.max_tokens)
