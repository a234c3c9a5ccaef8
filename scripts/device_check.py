"""The same models on the CPU and on an accelerator: units, promises, precision, places, speed.

    python scripts/device_check.py [--device cuda] [MODEL ...]

Models are names as in `deeploc run -m`; by default the bundled ones, and tiny random models of
types that use the device in ways of their own (`tiny_models.py`). Of each is printed:

t         the largest difference of t between the CPU and the device, both in float32
top 1 %   the share of its units that the device selects too: float32, twice the same, bfloat16
map       and with the first half of the blocks on the CPU, the other on the device (accelerate)
promises  how many checks of `deeploc check-adapter` hold on the device, in float32 and bfloat16

and, with random weights in the shape of GPT-2 small, what localizing takes in bare forward passes.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tiny_models import tiny_model, tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

import deeploc
from deeploc.errors import DeeplocError
from deeploc.stimuli import load as load_stimuli
from deeploc.testing import run_checks

BUNDLED = ("reference:lm", "reference:cnn", "reference:vit")
TYPES = ("gpt2", "llama", "mixtral", "gpt_oss", "mamba", "jamba", "gemma3n_text", "bert")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, source in models(arguments.models, Path(folder)):
            for line in compared(source, arguments.device):
                broken += line.startswith("!")
                print(f"{name:16}{line}", flush=True)
        print(f"{'speed':16}{speed(Path(folder), arguments.device)}")
    sys.exit(broken > 0)


def models(wanted: list[str], folder: Path) -> Iterator[tuple[str, str]]:
    if wanted:
        yield from zip(wanted, wanted, strict=True)
        return
    yield from zip(BUNDLED, BUNDLED, strict=True)
    for kind in TYPES:
        try:
            tiny_model(kind).save_pretrained(folder / kind)
        except Exception as error:  # an older transformers does not have every type
            print(f"{kind:16}not built: {' '.join(str(error).split())[:80]}")
            continue
        tiny_tokenizer().save_pretrained(folder / kind)
        yield kind, f"hf:{folder / kind}"


def compared(source: str, device: str) -> Iterator[str]:
    """Yield what differs between devices, a line each; one that starts with ! is a fault."""
    cpu = deeploc.ModelOptions(device="cpu", dtype="float32")
    there = replace(cpu, device=device)
    half = replace(there, dtype="bfloat16")
    try:
        t = t_of(source, cpu)
        on_device, again = t_of(source, there), t_of(source, there)
        yield f"t           {np.nanmax(np.abs(t - on_device)):.1e} of {np.nanmax(np.abs(t)):.0f}"
        yield f"top 1 %     {shared(t, on_device):.0%} of the CPU's units"
        same = np.array_equal(on_device, again, equal_nan=True)
        yield f"{'' if same else '! '}twice       {'the same' if same else 'NOT the same'}"
        yield f"top 1 %     {shared(t, t_of(source, half)):.0%} in bfloat16"
        if source.startswith("hf:"):
            yield f"top 1 %     {shared(t, t_of(source, split(source, device))):.0%} in a map"
        for options in (there, half):
            yield from promises(source, options)
    except DeeplocError as error:
        yield f"! {error}"


def t_of(source: str, options: deeploc.ModelOptions) -> np.ndarray:
    adapter = deeploc.load_model(source, options)
    return deeploc.localize(adapter, contrast_for(adapter)).t


def contrast_for(adapter: Any) -> Any:
    text = hasattr(adapter, "tokenizer")
    kinds = json.dumps(list(adapter.sites.kinds))
    name = "language" if text else "faces-rendered"
    return deeploc.load_contrast(name, [f"read.sites={kinds}"])


def shared(t: np.ndarray, other: np.ndarray) -> float:
    """Return which share of the 1 % of units with the largest t another map has, too."""
    n = max(len(t) // 100, 1)
    first, second = (set(np.argsort(-np.nan_to_num(x, nan=-np.inf))[:n]) for x in (t, other))
    return len(first & second) / n


def split(source: str, device: str) -> deeploc.ModelOptions:
    """Return options that put the embedding and half the blocks on the CPU, all else there."""
    model = deeploc.load_model(source, deeploc.ModelOptions(device="cpu")).model
    blocks = max(
        (m for m in model.modules() if isinstance(m, torch.nn.ModuleList)),
        key=lambda m: sum(p.numel() for p in m.parameters()),
    )
    path = next(p for p, m in model.named_modules() if m is blocks)
    on_cpu = {id(m) for m in list(blocks)[: len(blocks) // 2]}
    leaves = [p for p, m in model.named_modules() if p and not list(m.children())]
    leaves += [p for p, _ in model.named_parameters() if "." in p]
    inside = [p for p in leaves if not p.startswith(f"{path}.")]
    places = {p: "cpu" if "emb" in p or "wte" in p or "wpe" in p else device for p in inside}
    for number, block in enumerate(blocks):
        places[f"{path}.{number}"] = "cpu" if id(block) in on_cpu else device
    file = Path(tempfile.mkdtemp()) / "map.json"
    file.write_text(json.dumps(places))
    return deeploc.ModelOptions(dtype="float32", device_map=str(file))


def promises(source: str, options: deeploc.ModelOptions) -> Iterator[str]:
    adapter = deeploc.load_model(source, options)
    stimuli = [
        stimulus
        for condition in load_stimuli(contrast_for(adapter), seed=0).values()
        for stimulus in condition[:3]
    ]
    outcomes = list(run_checks(adapter, stimuli))
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    kept = sum(outcome.state == "ok" for outcome in outcomes)
    yield f"promises    {kept} kept, {len(failed)} broken, in {options.dtype}"
    for outcome in failed:
        yield f"! {outcome.name}: {' '.join(str(outcome.reason).split())[:300]}"


def speed(folder: Path, device: str, repeats: int = 5) -> str:
    """Return what localizing takes, in bare forward passes of the trunk over the same batches."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=330))
    model.save_pretrained(folder / "small")
    tiny_tokenizer().save_pretrained(folder / "small")
    adapter = deeploc.load_model(f"hf:{folder / 'small'}", deeploc.ModelOptions(device=device))
    contrast = deeploc.load_contrast("language", ["read.sites=[block]"])
    widths: list[torch.Tensor] = []
    trunk = adapter.model.base_model
    note = trunk.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(kwargs.get("input_ids", *args[:1])), with_kwargs=True
    )
    deeploc.localize(adapter, contrast)
    note.remove()
    ours, bare = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        deeploc.localize(adapter, contrast)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.inference_mode():
            for ids in widths:
                trunk(input_ids=ids, use_cache=False)
            if ids.is_cuda:
                torch.cuda.synchronize()
        bare.append(time.perf_counter() - start)
    batches = f"{len(widths)} batches"
    return f"localize {median(ours):.2f} s, forward passes {median(bare):.2f} s ({batches})"


if __name__ == "__main__":
    main()
