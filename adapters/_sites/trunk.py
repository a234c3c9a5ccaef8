"""Find the blocks of a network's trunk from its module tree and one forward pass.

No table of model names. A *block* is a repeated module with at least two layers of weights; a
*stage* is a module that contains several such blocks and is searched itself. Lists and
`nn.Sequential` are containers: their children count as children of the module around them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

from torch import nn

from .trace import Trace

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

# Parts of a block that are built like blocks themselves; only their names distinguish them.
_PARTS = re.compile(r"att(n|ention|_)|mlp|ffn", re.IGNORECASE)

Named = tuple[str, nn.Module]


def blocks(model: nn.Module, trace: Trace, *, unwrap: bool = False) -> list[str]:
    """Return the paths of the repeated blocks of the trunk, in forward order.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.
    unwrap
        Search a trunk that is the only part of the module around it, too.

    Returns
    -------
    list of str
        Empty for a network without blocks, such as a plain stack of convolutions.
    """
    root, candidates = "", _candidates(model, "", trace)
    while unwrap and len(candidates) == 1:
        root = candidates[0][0]
        candidates = _candidates(model, root, trace)
    found = _repeated(model, candidates, trace, root)
    return found if unwrap else _of_one_width(model, found, trace)


def _of_one_width(model: nn.Module, paths: list[str], trace: Trace) -> list[str]:
    """Return the blocks without one of a kind that returns another width: scores of tokens."""
    kinds = Counter(type(model.get_submodule(path)) for path in paths)
    repeated = {path for path in paths if kinds[type(model.get_submodule(path))] > 1}
    widths = {trace[path].output_shape[-1] for path in repeated or paths}
    return [p for p in paths if p in repeated or trace[p].output_shape[-1] in widths]


def _candidates(model: nn.Module, root: str, trace: Trace) -> list[Named]:
    """Return the parts of the module at ``root`` that may be blocks."""
    stages = {type(m) for path, m in model.named_modules() if path and _is_stage(m, path, trace)}
    stages -= set(_CONTAINERS)
    return [
        (path, module)
        for path, module in _blocks(model.get_submodule(root), root, stages, trace)
        if len(trace[path].output_shape) > 2
    ]


def _repeated(
    model: nn.Module, candidates: Sequence[Named], trace: Trace, root: str = ""
) -> list[str]:
    """Return the paths of those candidates that are repeated, and of stages of one block."""
    kinds = Counter(type(module) for _, module in candidates if _n_layers(module) > 1)
    repeated = [path for path, module in candidates if kinds[type(module)] > 1]
    # one of a kind beside repeated ones, or several of different kinds: a stage of one block
    start = len(root) + 1 if root else 0
    tops = Counter(_top(path[start:]) for path in repeated or [path for path, _ in candidates])
    beside = [path for path, _ in candidates if tops[_top(path[start:])] > (0 if repeated else 1)]
    if repeated:  # in one model inside another, what embeds its input is in no stage
        around = _around(model, beside)
        start = len(around) + 1 if around else 0
        stages = {_top(path[start:]) for path in repeated}
        beside = [path for path in beside if _top(path[start:]) in stages]
    return sorted({*repeated, *beside}, key=lambda path: trace[path].ended)


def _around(model: nn.Module, paths: Sequence[str]) -> str:
    """Return the innermost module that is around all ``paths`` and is no container."""
    around = [path.split(".")[:-1] for path in paths]
    shared = list(takewhile(lambda names: len(set(names)) == 1, zip(*around, strict=False)))
    parts = [names[0] for names in shared]
    while parts and isinstance(model.get_submodule(".".join(parts)), _CONTAINERS):
        parts.pop()
    return ".".join(parts)


def largest_stack(model: nn.Module, trace: Trace) -> list[str]:
    """Return the paths of the children of the largest stack of modules of which any ran.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.
    """
    stacks = sorted(_stacks(model, ""), key=lambda path: -_size(model.get_submodule(path)))
    for path in stacks:
        children = [_join(path, name) for name, _ in model.get_submodule(path).named_children()]
        if called := [child for child in children if child in trace]:
            return sorted(called, key=lambda child: trace[child].ended)
    return []


def stacks_beside(model: nn.Module, trace: Trace, trunk: Sequence[str]) -> list[str]:
    """Return the members of other lists as long as that of the blocks, if these are in one list.

    In XLM each block is spread over several lists: one of attention modules, one of MLPs.

    Parameters
    ----------
    model
        The network.
    trace
        One forward pass of it.
    trunk
        Paths of the blocks.
    """
    homes = {path.rpartition(".")[0] for path in trunk}
    home = min(homes, default="")
    if len(homes) != 1 or not isinstance(model.get_submodule(home), nn.ModuleList):
        return []
    around = home.rpartition(".")[0]
    lists = [
        (_join(around, name), child)
        for name, child in model.get_submodule(around).named_children()
        if isinstance(child, nn.ModuleList) and len(child) == len(trunk)
    ]
    members = [f"{path}.{name}" for path, child in lists for name, _ in child.named_children()]
    return [path for path in members if path in trace and path not in trunk]


def _blocks(
    module: nn.Module, path: str, stages: set[type[nn.Module]], trace: Trace
) -> Iterator[Named]:
    for child_path, child in _composites(module, path, trace):
        # a module that took no activations holds the trunks of an encoder-decoder, for example
        if type(child) in stages or child_path not in trace:
            yield from _blocks(child, child_path, stages, trace)
        else:
            yield child_path, child


def _composites(module: nn.Module, path: str, trace: Trace) -> list[Named]:
    """Return the parts of ``module`` that ran and have more than one layer."""
    start = len(path) + 1 if path else 0
    return [
        (part_path, part)
        for part_path, part in _parts(module, path)
        if sum(map(_has_matrix, part.modules())) > 1
        and trace.ran(part_path)
        and not _PARTS.search(part_path[start:])
    ]


def _is_stage(module: nn.Module, path: str, trace: Trace) -> bool:
    """Return whether ``module`` contains blocks of one kind that are not branches of one input."""
    paths_by_kind: dict[type[nn.Module], list[str]] = {}
    for child_path, child in _composites(module, path, trace):
        if _n_layers(child) > 1:
            paths_by_kind.setdefault(type(child), []).append(child_path)
    for paths in paths_by_kind.values():
        inputs = [trace[child_path].input_id for child_path in paths if child_path in trace]
        if len(paths) > 1 and len(set(inputs)) == len(inputs):
            return True
    return False


def _parts(module: nn.Module, path: str) -> Iterator[Named]:
    """Yield the children of ``module``, and those of its containers as if they were its own."""
    for name, child in module.named_children():
        child_path = _join(path, name)
        if isinstance(child, _CONTAINERS):
            yield from _parts(child, child_path)
        else:
            yield child_path, child


def _n_layers(module: nn.Module) -> int:
    """Return the number of layers in ``module``; a separable convolution counts as one."""
    return sum(_has_matrix(m) and getattr(m, "groups", 1) == 1 for m in module.modules())


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))


def _stacks(module: nn.Module, path: str) -> Iterator[str]:
    """Yield the outermost stacks; a stack inside one (experts, for example) is part of a block."""
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
