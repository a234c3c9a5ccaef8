"""Compiled, wrapped and bypassed modules: every call is ablated, or is an error."""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeploc.adapters.module import load, wrap
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Adapter, ModelOptions, Sampling, TextRequest
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing import check_adapter

from .conftest import SENTENCES, hooks_of, model_of, texts, tokenizer_of, values_of

CODES = torch.tensor([[3, 1, 2], [5, 4, 7]])
STIMULI = texts(["the bird", "a", "some farmers walked"])


class Block(nn.Module):
    """A residual block with an MLP of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 12)
        self.down = nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).relu())


class Net(nn.Module):
    """Character codes in, (batch, position, unit) out."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Embedding(128, 8)
            self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embed(codes)
        for block in self.blocks:
            x = block(x)
        return x


def codes_of(contents: Sequence[Any]) -> Tensor:
    """Return the first three characters of every text."""
    return torch.tensor([[ord(letter) for letter in text.ljust(3)[:3]] for text in contents])


def adapter_of(module: nn.Module, **options: Any) -> Adapter:
    return wrap(module, preprocess=codes_of, **options)


def held(adapter: Adapter) -> Ablation:
    """Return the ablation that holds every unit of every site at 2.5."""
    every = np.ones(adapter.sites.n_units, dtype=bool)
    return Ablation(UnitMask(adapter.sites, every), offset=np.full(len(every), 2.5))


@pytest.fixture(autouse=True)
def forget_compiled() -> Iterator[None]:
    """Keep compiled code of one test from another."""
    yield
    torch.compiler.reset()


@torch.no_grad()
def call(module: Any, x: Any = CODES) -> Tensor:
    output: Tensor = module(x)
    return output


def compiled(module: nn.Module) -> Any:
    return torch.compile(module, backend="eager")


def compiled_with_autograd(module: nn.Module) -> Any:
    return torch.compile(module, backend="aot_eager")


def compiled_in_place(module: nn.Module) -> Any:
    module.compile(backend="eager")
    return module


def compiled_forward(module: nn.Module) -> Any:
    module.forward = torch.compile(module.forward, backend="eager")
    return module


def compiled_blocks(module: Any) -> Any:
    for block in module.blocks:
        block.compile(backend="eager")
    return module


def blocks_in_wrappers(module: Any) -> Any:
    module.blocks = nn.ModuleList(torch.compile(b, backend="eager") for b in module.blocks)
    return module


class PeftLike(nn.Module):
    """What peft's models offer; like them, it calls the ``forward`` of the module inside."""

    def __init__(self, base: nn.Module, *, is_prompt_learning: bool = False) -> None:
        super().__init__()
        self.base_model = base
        self.peft_config = {"default": None}
        self.active_peft_config = SimpleNamespace(is_prompt_learning=is_prompt_learning)

    def get_base_model(self) -> nn.Module:
        return self.base_model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.forward(*args, **kwargs)


def nested(module: nn.Module) -> Any:
    return compiled(nn.DataParallel(PeftLike(module)))


Wrapper = Callable[[Any], Any]
WHOLE: list[Wrapper] = [
    *(compiled, compiled_with_autograd, compiled_in_place, compiled_forward),
    *(nn.DataParallel, PeftLike, nested),
]
PARTS: list[Wrapper] = [compiled_blocks, blocks_in_wrappers]


@pytest.mark.parametrize("wrapper", WHOLE + PARTS)
@pytest.mark.parametrize("first", ["wrapper", "adapter"])
def test_wrapped_model_is_ablated(wrapper: Wrapper, first: str) -> None:
    """Calls of the module, of its wrapper and by the adapter all give the ablated output."""
    module, intact = Net(), call(Net())
    if first == "wrapper":
        outer = wrapper(module)
        call(outer)  # so that code without hooks has been compiled
        adapter = adapter_of(outer)
    else:
        adapter = adapter_of(module)
        outer = wrapper(module)
        call(outer)
    with adapter.ablated(held(adapter)):
        outputs = [call(f) for f in (module, outer, module.forward, outer.forward)]
        read = values_of(adapter, STIMULI, adapter.sites)

    assert all(bool((output == 2.5).all()) for output in outputs)
    assert (read == 2.5).all()
    torch.testing.assert_close([call(outer), call(module)], [intact, intact])


@pytest.mark.parametrize("wrapper", WHOLE + PARTS)
def test_wrapped_model_keeps_the_contract(wrapper: Wrapper) -> None:
    """A wrapped model passes the check of adapters and reads as the bare one."""
    outer, bare = wrapper(Net()), adapter_of(Net())
    call(outer)
    adapter = adapter_of(outer)

    check_adapter(adapter, STIMULI)
    np.testing.assert_array_equal(
        values_of(adapter, STIMULI, adapter.sites), values_of(bare, STIMULI, bare.sites)
    )


@pytest.mark.parametrize("wrapper", WHOLE)
def test_wrapped_model_has_the_sites_of_the_bare_one(wrapper: Wrapper) -> None:
    """A mask, and statistics, of the one are those of the other."""
    wrapped, bare = adapter_of(wrapper(Net())), adapter_of(Net())

    assert wrapped.sites == bare.sites
    assert wrapped.identity == bare.identity


@pytest.mark.parametrize("wrapper", WHOLE)
def test_wrapped_language_model_scores_and_generates(wrapper: Wrapper) -> None:
    """A wrapped causal LM scores and continues as the bare one does, intact and ablated."""

    def results(module: Any) -> list[Any]:
        call(module, torch.tensor([[1, 2, 3]]))
        adapter: Any = wrap(module, tokenizer=tokenizer_of())
        requests = [TextRequest("", text) for text in SENTENCES]
        mask = UnitMask(adapter.sites, np.arange(adapter.sites.n_units) % 3 == 0)
        intact = adapter.score(requests)
        with adapter.ablated(Ablation(mask)):
            ablated = [adapter.score(requests), adapter.generate("the", Sampling(4))]
        return [intact, *ablated]

    expected = results(model_of("gpt2"))
    assert expected[0] != expected[1]
    assert results(wrapper(model_of("gpt2"))) == expected


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_model_compiled_inside_the_context_is_ablated_there_only(backend: str) -> None:
    """What is compiled while the ablation lasts neither bypasses it nor keeps it."""
    module, intact = Net(), call(Net())
    adapter = adapter_of(module)
    with adapter.ablated(held(adapter)):
        outer: Any = torch.compile(module, backend=backend)
        module.compile(backend=backend)
        outputs = [call(outer), call(module)]

    assert all(bool((output == 2.5).all()) for output in outputs)
    torch.testing.assert_close([call(outer), call(module)], [intact, intact])


@pytest.mark.parametrize("wrapper", [compiled, compiled_in_place, compiled_blocks])
def test_stance_set_inside_the_context_does_not_bypass_the_ablation(wrapper: Wrapper) -> None:
    """Compiled code that the caller turns on again gives the ablated output, or an error."""
    module = Net()
    outer = wrapper(module)
    call(outer)
    adapter = adapter_of(module)
    outputs = []
    # tracing fails on hooks whose types are checked, as they are in tests: that is an error too
    with suppress(Exception), adapter.ablated(held(adapter)), torch.compiler.set_stance("default"):
        outputs.append(call(outer))

    assert all(bool((output == 2.5).all()) for output in outputs)


def test_intact_and_ablated_model_run_the_same_code(image_files: list[Stimulus]) -> None:
    """Compiled code rounds differently, so it is not used for the intact model either."""
    compilations: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        compilations.append(graph)
        return graph.forward

    model, images = model_of("gpt2"), nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten())
    text: Any = wrap(model, tokenizer=tokenizer_of())
    image: Any = wrap(images, transform=lambda _: torch.ones(3, 4, 4), sites=["0"])
    model.compile(backend=backend)
    images.compile(backend=backend)
    text.score([TextRequest("the", " bird")])
    text.generate("the", Sampling(2))
    values_of(text, texts(SENTENCES), text.sites)
    image.classify(image_files)
    assert not compilations

    call(images, torch.ones(1, 3, 4, 4))
    assert compilations


@pytest.mark.filterwarnings("ignore")  # TorchScript is deprecated
def test_torchscript_is_an_error_or_left_alone() -> None:
    """It has no hooks: a whole model of it is refused, and a block of it is no site."""
    module = Net()
    module.blocks[1] = torch.jit.trace(Block(), torch.ones(1, 3, 8))
    adapter = adapter_of(module)

    assert {site.path for site in adapter.sites.choose(["block"]).sites} == {"blocks.0", "blocks.2"}
    with adapter.ablated(held(adapter)):
        assert (call(module) == 2.5).all()
    with pytest.raises(AdapterError, match=r"module 'blocks.1' .* or is TorchScript; name other"):
        adapter_of(module, sites=["blocks.1"])
    with pytest.raises(AdapterError, match="has no stack of repeated blocks that are called as"):
        adapter_of(torch.jit.trace(Net(), CODES))


def test_virtual_tokens_are_refused() -> None:
    """Prompt tuning is not what its base model computes: one line that says what to give."""
    with pytest.raises(AdapterError, match=r"^PeftLike adds virtual tokens .* give a LoRA or a"):
        adapter_of(PeftLike(Net(), is_prompt_learning=True))


def test_wrapped_model_is_loaded_by_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``torch:`` finds what prepares the input on the wrapper and on the module inside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    Path("deeploc_test_wrapped.py").write_text(
        "import torch\n"
        f"from {__name__} import Net, codes_of\n\n"
        "def inside():\n    net = Net()\n    net.preprocess = codes_of\n"
        "    return torch.nn.DataParallel(net)\n\n"
        "def outside():\n    net = torch.nn.DataParallel(Net())\n"
        "    net.preprocess = codes_of\n    return net\n"
    )
    for name in ("inside", "outside"):
        adapter = load(f"deeploc_test_wrapped:{name}", ModelOptions(device="cpu"))
        assert adapter.sites == adapter_of(Net()).sites


# bypassed hooks


class Bypassing(Net):
    """Calls its blocks by their ``forward``, once ``bypass`` is set."""

    bypass = False

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embed(codes)
        for block in self.blocks:
            x = block.forward(x) if self.bypass else block(x)
        return x


class Tensorless(Block):
    """Returns a list of numbers instead of a tensor, once ``bypass`` is set."""

    bypass = False

    def forward(self, x: Tensor) -> Any:
        if isinstance(x, list):
            x = torch.tensor(x)
        output = super().forward(x)
        return output.tolist() if self.bypass else output


class Remembering(Net):
    """Takes its blocks from a cache, once it is filled, as a captured graph would."""

    def capture(self) -> None:
        output = call(self)
        self.forward = lambda _: output  # type: ignore[method-assign]


class Skipping(Net):
    """Leaves its last block out, once ``bypass`` is set."""

    bypass = False

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embed(codes)
        for block in self.blocks[: 2 if self.bypass else 3]:
            x = block(x)
        return x


def bypass_by_forward() -> tuple[Net, Callable[[], Any]]:
    net = Bypassing()
    return net, lambda: setattr(net, "bypass", True)


def bypass_by_bound_forward() -> tuple[Net, Callable[[], Any]]:
    net = Net()
    forwards = [block.forward for block in net.blocks]

    def forward(codes: Tensor) -> Tensor:
        x = net.embed(codes)
        for each in forwards:
            x = each(x)
        return x

    return net, lambda: setattr(net, "forward", forward)


def no_tensor() -> tuple[Net, Callable[[], Any]]:
    net = Net()
    net.blocks[1] = block = Tensorless()
    net.blocks[2] = Tensorless()
    return net, lambda: setattr(block, "bypass", True)


def skipped() -> tuple[Net, Callable[[], Any]]:
    net = Skipping()
    return net, lambda: setattr(net, "bypass", True)


def captured() -> tuple[Net, Callable[[], Any]]:
    net = Remembering()
    return net, net.capture


def captured_block() -> tuple[Net, Callable[[], Any]]:
    net = Net()

    def capture() -> None:
        block, x = net.blocks[1], torch.ones(2, 3, 8)
        output = call(block, x)
        block.forward = lambda _: output

    return net, capture


BYPASSES = [
    *(bypass_by_forward, bypass_by_bound_forward, no_tensor, skipped, captured, captured_block),
]


@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.parametrize("called", ["module", "forward"])
@pytest.mark.parametrize("bypass", BYPASSES)
def test_bypassed_hook_is_an_error(bypass: Callable[[], Any], called: str, when: str) -> None:
    """Whatever keeps a hook from running, the context ends in an error that names the site."""
    module, start = bypass()
    adapter = adapter_of(module)
    ablation = held(adapter)
    if when == "before":
        start()
    with (
        pytest.raises(AdapterError, match=r"^site \S+ was not ablated|^the forward of"),
        adapter.ablated(ablation),
    ):
        if when == "inside":
            start()
        call(module if called == "module" else lambda x: module.forward(x))


@pytest.mark.parametrize("bypass", BYPASSES)
def test_bypassed_hook_is_an_error_while_reading(bypass: Callable[[], Any]) -> None:
    """Activations of a site whose hook does not run are not read from elsewhere."""
    module, start = bypass()
    adapter = adapter_of(module)
    sites = adapter.sites
    start()
    with pytest.raises(AdapterError, match=r"^site \S+ takes no part in the forward"):
        values_of(adapter, STIMULI[:2], sites)


def test_replaced_forward_that_is_put_back_is_an_error() -> None:
    """A captured forward counts also if it is gone when the context is left."""
    module = Net()
    adapter = adapter_of(module)
    output = call(module)
    with pytest.raises(AdapterError, match="was not ablated"), adapter.ablated(held(adapter)):
        kept, module.forward = module.forward, lambda _: output  # type: ignore[method-assign]
        call(module)
        module.forward = kept  # type: ignore[method-assign]


def test_hooked_model_itself_called_by_forward_is_an_error() -> None:
    """Nothing is above the whole model that could notice, but its own forward."""
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    adapter = wrap(module, preprocess=lambda c: codes_of(c).float(), sites=[""])
    with adapter.ablated(held(adapter)):
        assert (call(module, CODES.float()) == 2.5).all()
    with pytest.raises(AdapterError, match="was not ablated"), adapter.ablated(held(adapter)):
        call(module.forward, CODES.float())


def test_block_called_by_forward_on_its_own_is_an_error() -> None:
    """A part of the model that a caller runs is ablated, or an error."""
    module = Net()
    adapter, x = adapter_of(module), torch.ones(2, 3, 8)
    with adapter.ablated(held(adapter)):
        assert (call(module.blocks[1], x) == 2.5).all()
    with pytest.raises(AdapterError, match=r"blocks\.1 was not"), adapter.ablated(held(adapter)):
        call(module.blocks[1].forward, x)


def test_one_bypassed_call_among_several_is_an_error() -> None:
    """A block that is used twice in a pass must be ablated twice."""

    class Twice(Net):
        def forward(self, codes: Tensor) -> Tensor:
            return self.blocks[0].forward(super().forward(codes))

    module = Twice()
    adapter = adapter_of(module)
    with (
        pytest.raises(AdapterError, match=r"blocks\.0 was not"),
        adapter.ablated(held(adapter)),
    ):
        call(module)


def test_error_that_was_caught_comes_again_when_the_context_is_left() -> None:
    """No score of a model that was not ablated outlives the context."""
    module, start = bypass_by_forward()
    adapter = adapter_of(module)
    start()
    reached = False
    with pytest.raises(AdapterError, match="was not ablated"), adapter.ablated(held(adapter)):
        with suppress(AdapterError):
            call(module)
        reached = True

    assert reached


def test_exception_in_flight_is_not_masked() -> None:
    """The caller's own exception leaves the context as it is."""
    module, start = bypass_by_forward()
    adapter = adapter_of(module)
    start()
    with pytest.raises(KeyError, match="mine"), adapter.ablated(held(adapter)):
        with suppress(AdapterError):
            call(module)
        raise KeyError("mine")


def test_failed_pass_is_no_bypass() -> None:
    """A pass that ran out of memory is repeated, and the context ends without an error."""
    module = Net()
    adapter = adapter_of(module)
    with adapter.ablated(held(adapter)):
        for _ in range(2):
            with pytest.raises(IndexError):
                call(module, CODES + 1000)
        module.blocks[2].down.register_forward_pre_hook(fail_once())
        with pytest.raises(MemoryError):
            call(module)
        assert (call(module) == 2.5).all()


def fail_once() -> Callable[..., None]:
    left = [1]

    def hook(*_: Any) -> None:
        if left:
            left.pop()
            raise MemoryError

    return hook


def test_no_forward_pass_is_no_error() -> None:
    """A context in which nothing is called, or only modules without a site, ends quietly."""
    module = Net()
    adapter = adapter_of(module)
    with adapter.ablated(held(adapter)):
        pass
    with adapter.ablated(held(adapter)):
        call(module.embed)


def test_contexts_may_be_left_in_any_order() -> None:
    """After all contexts the module has the hooks and the forward that it had before."""
    module: Any = Net()
    own = module.forward = partial(Net.forward, module)
    adapter = adapter_of(module)
    before = hooks_of(module)
    layout = Layout(adapter.sites.sites[:1])
    first = adapter.ablated(held(adapter))
    second = adapter.ablated(Ablation(UnitMask(layout, np.ones(layout.n_units, dtype=bool))))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    call(module)
    second.__exit__(None, None, None)

    assert hooks_of(module) == before
    assert module.forward is own
    assert all("forward" not in vars(m) for m in module.modules() if m is not module)
    with adapter.ablated(held(adapter)):
        assert (call(module) == 2.5).all()


def test_forward_keeps_its_signature() -> None:
    """Libraries that look at the arguments of ``forward`` see those of the model."""
    module = Net()
    adapter, expected = adapter_of(module), inspect.signature(module.forward)
    with adapter.ablated(held(adapter)):
        assert inspect.signature(module.forward) == expected
