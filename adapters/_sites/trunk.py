"""Find the blocks that a network is a chain of, from its module tree and one forward pass.

No table of model names. A *block* is a module that does at least two steps of work and is
repeated; a *stage* is a module that holds several such blocks and is looked into. Lists and
`nn.Sequential` count as brackets, not as modules.
"""

import re
from collections import Counter
from collections.abc import Iterator

from torch import nn

from .trace import Trace

_BRACKETS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

# Parts of a block that are built like blocks themselves; only their names tell.
_PARTS = re.compile(r"att(n|ention|_)|mlp|ffn", re.IGNORECASE)

Named = tuple[str, nn.Module]


def blocks(model: nn.Module, trace: Trace) -> list[str]:
    """Return the paths of the repeated blocks of the trunk, in forward order.

    Empty where there is nothing of the kind, as in a plain stack of convolutions.
    """
    stages = {type(m) for path, m in model.named_modules() if path and _is_stage(m, path, trace)}
    stages -= set(_BRACKETS)
    found = [(p, m) for p, m in _blocks(model, "", stages, trace) if len(trace[p].returned) > 2]
    kinds = Counter(type(module) for _, module in found if _steps(module) > 1)
    repeated = [path for path, module in found if kinds[type(module)] > 1]
    # one of a kind beside repeated ones, or several of different kinds: a stage of one block
    tops = Counter(_top(path) for path in repeated or [path for path, _ in found])
    beside = [path for path, _ in found if tops[_top(path)] > (0 if repeated else 1)]
    return sorted({*repeated, *beside}, key=lambda path: trace[path].ended)


def largest_stack(model: nn.Module, trace: Trace) -> list[str]:
    """Return the children of the largest list or stack of which at least one ran."""
    stacks = sorted(_stacks(model, ""), key=lambda path: -_size(model.get_submodule(path)))
    for path in stacks:
        children = [_join(path, name) for name, _ in model.get_submodule(path).named_children()]
        if ran := [child for child in children if child in trace]:
            return sorted(ran, key=lambda child: trace[child].ended)
    return []


def _blocks(
    module: nn.Module, path: str, stages: set[type[nn.Module]], trace: Trace
) -> Iterator[Named]:
    for here, child in _composites(module, path, trace):
        if type(child) in stages:
            yield from _blocks(child, here, stages, trace)
        elif here in trace:
            yield here, child


def _composites(module: nn.Module, path: str, trace: Trace) -> list[Named]:
    """Return what ``module`` consists of, as far as it ran and is more than one layer."""
    start = len(path) + 1 if path else 0
    return [
        (here, child)
        for here, child in _parts(module, path)
        if _layers(child) > 1 and trace.ran(here) and not _PARTS.search(here[start:])
    ]


def _is_stage(module: nn.Module, path: str, trace: Trace) -> bool:
    """Return whether ``module`` holds blocks of one kind that are not branches of one input."""
    kinds: dict[type[nn.Module], list[str]] = {}
    for here, child in _composites(module, path, trace):
        if _steps(child) > 1:
            kinds.setdefault(type(child), []).append(here)
    for alike in kinds.values():
        took = [trace[here].took for here in alike if here in trace]
        if len(alike) > 1 and len(set(took)) == len(took):
            return True
    return False


def _parts(module: nn.Module, path: str) -> Iterator[Named]:
    """Yield the children of ``module``, those inside brackets as if they were its own."""
    for name, child in module.named_children():
        here = _join(path, name)
        if isinstance(child, _BRACKETS):
            yield from _parts(child, here)
        else:
            yield here, child


def _layers(module: nn.Module) -> int:
    """Return how many layers with a matrix of weights ``module`` holds."""
    return sum(map(_has_matrix, module.modules()))


def _steps(module: nn.Module) -> int:
    """Return the same without depthwise convolutions: a separable one is a single step."""
    return sum(_has_matrix(m) and getattr(m, "groups", 1) == 1 for m in module.modules())


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))


def _stacks(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the outermost stacks; what lies inside one (experts, say) is part of a block."""
    if _is_stack(module):
        yield path
        return
    for name, child in module.named_children():
        yield from _stacks(child, _join(path, name))


def _is_stack(module: nn.Module) -> bool:
    kinds = Counter(type(child) for child in module.children())
    if isinstance(module, nn.ModuleList):
        return len(kinds) > 0
    repeated = max(kinds.values(), default=0)
    return isinstance(module, nn.Sequential) and repeated > 1 and 2 * repeated >= len(module)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _top(path: str) -> str:
    return path.partition(".")[0]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
