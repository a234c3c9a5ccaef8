"""Every adapter of deeploc keeps every promise of the conformance kit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from deeploc.adapters.module import wrap
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.readout import Readout
from deeploc.plugins import load_model
from deeploc.stimuli import Stimulus
from deeploc.testing import run_checks
from deeploc.testing.stimuli import stimuli_for

from .test_module import Reader, characters

READOUT = Readout(pool="mean")
TEXTS = [Stimulus(str(i), text) for i, text in enumerate(["the bird", "a", "b c d e f", "ee"])]


def kept(adapter: Adapter, load: Callable[[ModelOptions], Adapter], **options: bool) -> set[str]:
    """Return the names of the checks that were made, all of which passed."""
    stimuli = stimuli_for(adapter, READOUT)
    chosen = ModelOptions(**options)
    outcomes = run_checks(adapter, stimuli, READOUT, load=load, options=chosen)
    broken = {o.name: o.reason for o in outcomes if o.state == "failed"}
    assert broken == {}
    return {outcome.name for outcome in outcomes if outcome.state == "ok"}


@pytest.mark.parametrize(
    ("address", "untrained", "ability"),
    [
        ("reference:lm", False, {"score", "generate", "tokenization", "positions", "untrained"}),
        ("reference:cnn", False, {"classify", "positions", "untrained"}),
        ("reference:vit", False, {"classify", "positions", "untrained"}),
        ("timm:test_resnet", True, {"classify", "positions", "stable-sites"}),
        ("timm:test_vit", True, {"classify", "positions", "stable-sites"}),
        ("torchvision:squeezenet1_1", True, {"classify", "positions", "stable-sites"}),
        ("torch:tests.adapters.test_conformance_builtin:made", False, {"stable-sites"}),
    ],
)
def test_built_in_adapters_keep_every_promise(
    address: str, untrained: bool, ability: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the checks of what a model can do beside reading are made, not skipped."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])

    def load(options: ModelOptions) -> Adapter:
        return load_model(address, options)

    assert kept(load(ModelOptions(untrained=untrained)), load, untrained=untrained) >= ability


def test_hf_keeps_every_promise(tiny_lm: Path) -> None:
    """A folder of transformers."""

    def load(options: ModelOptions) -> Adapter:
        return load_model(f"hf:{tiny_lm}", options)

    assert kept(load(ModelOptions()), load) >= {"score", "generate", "untrained"}


def test_a_wrapped_module_keeps_every_promise() -> None:
    """`wrap`, as a plugin returns it: it applies the options."""

    def load(options: ModelOptions) -> Adapter:
        return wrap(Reader(), preprocess=characters, options=options)

    def checked(options: ModelOptions) -> Adapter:
        if options.untrained:
            torch.manual_seed(options.seed + 1)  # Reader has the weights of seed 0
            net = Reader()
            nn.init.normal_(net.embed.weight)
            return wrap(net, preprocess=characters, options=options)
        return load(options)

    assert kept(load(ModelOptions()), checked) >= {"stable-sites", "untrained", "batch-size"}


def test_wrap_applies_the_options_of_a_plugin() -> None:
    """Device, dtype and batch size are those of the command."""
    module = Reader()
    adapter = wrap(
        module, preprocess=characters, options=ModelOptions(dtype="bfloat16", batch_size=2)
    )
    batches = list(adapter.activations(TEXTS, adapter.sites, READOUT))

    assert module.embed.weight.dtype == torch.bfloat16
    assert adapter.identity["dtype"] == "bfloat16"
    assert max(len(batch.indices) for batch in batches) == 2


def made() -> nn.Module:
    """Return a module as `torch:` finds it."""
    module = Reader()
    module.preprocess = characters  # type: ignore[assignment]
    return module
