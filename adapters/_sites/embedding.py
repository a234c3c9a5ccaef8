"""The embedding: what turns tokens or patches of an image into the vectors of the first block."""

from torch import nn

from deeploc.core.units import Site

from .mixing import Observed
from .paths import above
from .trace import Trace


def token_embedding(observed: Observed) -> list[Site]:
    """Return the site of the module that turns tokens into vectors, if one was seen.

    Parameters
    ----------
    observed
        What was seen in a forward pass.
    """
    if observed.embedding is None:
        return []
    path, shape = observed.embedding
    return [Site(path, "embedding", shape[-1])]


def patch_embedding(model: nn.Module, trace: Trace, blocks: list[str]) -> list[Site]:
    """Return the site of the module that turns patches into vectors, if there is one.

    Patches are what a convolution takes whose steps are as long as its kernel. The site is the
    largest module around it that ends before the blocks begin, or the convolution itself: with
    the positions that are added, and a class token.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.
    blocks
        Paths of the blocks.
    """
    start = min(trace[block].started for block in blocks)
    for call in sorted(trace.calls, key=lambda call: call.started):
        if call.ended < start and _cuts_patches(model.get_submodule(call.path)):
            around = [p for p in above(call.path) if p in trace and trace[p].ended < start]
            return [Site([*around, call.path][0], "embedding", 0)]
    return []


def _cuts_patches(module: nn.Module) -> bool:
    weight, steps = getattr(module, "weight", None), getattr(module, "stride", 1)
    kernel = tuple(getattr(weight, "shape", ()))[2:]
    return len(kernel) == 2 and min(kernel) > 1 and steps == kernel
