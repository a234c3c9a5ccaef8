"""Hooks at the activations that `row_mode` finds inside a module."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any

from torch import Tensor, nn

from deeploc.core.units import Site
from deeploc.errors import AdapterError

from .hooks import SiteHook, first_tensor
from .row_mode import Layers, Parameter, Place, RowFunction, RowMode

Visits = Callable[[Tensor], Iterator[RowFunction]]
"""Called with what the module is given; yields what the rows are shown to, once for each time that
its forward is to be run. What the last of them returns counts."""


@dataclass(frozen=True, kw_only=True)
class ParameterHook(SiteHook):
    """A hook at rows inside a module; ``function`` is called at the start of its ``forward``.

    Parameters
    ----------
    name
        The name of the site.
    place
        Where in the module the activations are.
    visits
        What they are shown to.
    begins
        Called each time that the forward itself begins: more than once where another hook runs it
        again, after which only the last time counts.
    mode
        What follows them.
    """

    name: str
    place: Place
    visits: Visits
    begins: Callable[[], None]
    mode: Callable[[Tensor, Place, RowFunction], RowMode] = RowMode

    @property
    def site(self) -> str:
        """The name of the site, for messages."""
        return self.name

    @property
    def inner_acts_first(self) -> bool:
        """Whether of two such hooks the inner one is shown the activations first."""
        return self.place.tap == "input" and not isinstance(self.place, Layers)

    def register(self) -> "_Removable":
        """Run the forward of the module inside the hook, until the handle is removed."""
        return _Removable(self)

    def run(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Return what ``forward`` returns while the rows are shown."""
        given = first_tensor([args, *kwargs.values()])
        if given is None or not given.is_floating_point():
            raise AdapterError(
                f"site {self.site} cannot be read: its module is given no activations"
            )
        self.function(given)
        output = None
        for function in self.visits(given):
            output = _run(self.mode(given, self.place, function), self.place, forward, args, kwargs)
        return output


def parameter_hook(
    model: nn.Module, site: Site, visits: Visits, begins: Callable[[], None] = lambda: None
) -> ParameterHook:
    """Return the hook at a site inside a module.

    Parameters
    ----------
    model
        The module in which the path of the site starts.
    site
        A site with a module around it, ``within``.
    visits
        What its rows are shown to.
    begins
        Called each time that the forward of the module begins.
    """
    module = model.get_submodule(site.within)
    place = place_at(model, site)
    return ParameterHook(
        path=site.within,
        module=module,
        tap="input",
        function=_nothing,
        name=site.name,
        place=place,
        visits=visits,
        begins=begins,
    )


def place_at(model: nn.Module, site: Site) -> Place:
    """Return where the activations of a site are: at a parameter, or at a layer of each expert.

    Parameters
    ----------
    model
        The module in which the path of the site starts.
    site
        The site; ``*`` in its path stands for every module of a list.
    """
    experts, star, layer = site.path.partition(".*.")
    if star:
        modules = model.get_submodule(experts).children()
        return Layers([expert.get_submodule(layer) for expert in modules])
    holder, _, name = site.path.rpartition(".")
    return Parameter(model.get_submodule(holder), name, site.tap)


def _nothing(_: Tensor) -> None:
    return None


def _run(
    mode: RowMode, place: Place, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
) -> Any:
    with ExitStack() as stack:
        for module, before in place.shown(mode):
            stack.callback(module.register_forward_pre_hook(before).remove)
        stack.enter_context(mode)
        return forward(*args, **kwargs)


class _Removable:
    """A hook in place; ``remove`` takes it away."""

    def __init__(self, hook: ParameterHook) -> None:
        self._hook = hook
        attributes = vars(hook.module)
        runner = _runner_within(attributes.get("forward"))
        if runner is None:
            runner = attributes["forward"] = _Runner(hook.module)
        self._runner = runner
        self._runner.hooks = (*self._runner.hooks, hook)

    def remove(self) -> None:
        """Take the hook away; the module's own forward comes back with the last one."""
        runner, attributes = self._runner, vars(self._hook.module)
        runner.hooks = tuple(hook for hook in runner.hooks if hook is not self._hook)
        if not runner.hooks and attributes.get("forward") is runner:
            del attributes["forward"]
            if runner.replaced is not None:
                attributes["forward"] = runner.replaced


def _runner_within(forward: Any) -> "_Runner | None":
    """Return the runner that a forward is, or that is inside what was put around it since."""
    while forward is not None and not isinstance(forward, _Runner):
        forward = getattr(forward, "_forward", None)
    return forward


class _Runner:
    """Stands in the place of the ``forward`` of a module and runs it inside hooks."""

    def __init__(self, module: nn.Module) -> None:
        self.replaced = vars(module).get("forward")
        """What was set on the module itself; ``None`` where ``forward`` is that of its class."""
        self.hooks: tuple[ParameterHook, ...] = ()
        self._forward = module.forward
        update_wrapper(self, module.forward, updated=())  # not the attributes of another wrapper

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward: Callable[..., Any] = self._begun
        # the one that was added first acts first, as with torch's hooks: of two modes the inner
        # one is the first to see what enters a product, and the last to see what leaves it; of two
        # that register hooks of layers, the outer one registers first
        inner_first = [hook for hook in self.hooks if hook.inner_acts_first]
        outer_first = [hook for hook in self.hooks if not hook.inner_acts_first]
        for hook in (*inner_first, *reversed(outer_first)):
            forward = partial(_call, hook, forward)
        return forward(*args, **kwargs)

    def _begun(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self.hooks:
            hook.begins()
        return self._forward(*args, **kwargs)


def _call(hook: ParameterHook, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return hook.run(forward, args, kwargs)
