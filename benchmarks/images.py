"""What localizing costs beyond decoding and the forward pass of images: ratios of one run (Linux).

A ResNet-34 with random weights, 2 conditions of images of 1024 x 1024 pixels, the output of every
block averaged over positions:

    python benchmarks/images.py --n 400 --repeats 3

(a) decode, then forward, one after the other, in torch's own memory format; (b)
``deeploc.localize`` from the same files; (c) the bare forward over tensors in memory, in both
formats; (d) ``deeploc.localize`` over the same tensors; (e) the bare forward and
``deeploc.localize`` from files in bfloat16; (f) peak memory of a ResNet-50 beyond the loaded
network, all blocks, pool ``none``, every position a unit. Times are medians over interleaved
repetitions; the less else runs on the machine, the more they mean. What to expect: (b) at least
1.2 times faster than (a), (d) at most 5 % above the faster of (c), (e) faster again, (f) below
1 GB for any number of images.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn

import deeploc
from deeploc.core.adapter import Adapter
from deeploc.stimuli import Stimulus

MODEL = "resnet34"
PIXELS = 1024
BATCH = 16

CONTRAST = """
name: bench
title: Made-up images
modality: image
source: benchmarks/images.py
conditions:
  a: {images: a/*.jpg}
  b: {images: b/*.jpg}
contrast: a > b
read: {sites: block, pool: POOL}
split: none
"""

# VmHWM, because Linux starts ru_maxrss at the peak of the process that spawned this one
PEAK = """
import sys
import deeploc

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

options = deeploc.ModelOptions(device="cpu", untrained=True)
adapter = deeploc.load_model("timm:resnet50", options)
assert adapter.sites and adapter.identity
before = peak()
stat_map = deeploc.localize(adapter, deeploc.load_contrast(sys.argv[1]))
print(stat_map.layout.n_units, before, peak())
"""


def make_images(folder: Path, n: int) -> dict[str, list[Stimulus]]:
    """Write ``n`` JPEG files that are smooth in places and rough in others, as photographs are."""
    rng = np.random.default_rng(0)
    stimuli: dict[str, list[Stimulus]] = {"a": [], "b": []}
    for number in range(n):
        condition = "ab"[number % 2]
        path = folder / condition / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 8, (PIXELS, PIXELS, 1))
        rough = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(rough).save(path, quality=90)
        stimuli[condition].append(Stimulus(path.name, path))
    return stimuli


def decode_then_forward(module: nn.Module, files: Sequence[Path]) -> None:
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module))
    for start in range(0, len(files), BATCH):
        opened = [Image.open(file).convert("RGB") for file in files[start : start + BATCH]]
        with torch.inference_mode():
            module(torch.stack([transform(image) for image in opened]))


def forward(module: nn.Module, batches: Sequence[Tensor]) -> None:
    with torch.inference_mode():
        for batch in batches:
            module(batch)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, taken in turns so that noise falls on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for run in range(repeats + 1):
        for name, todo in work.items():
            spent = seconds(todo)
            if run:  # the first round only warms up
                taken[name].append(spent)
    return {name: median(values) for name, values in taken.items()}


def made(dtype: torch.dtype = torch.float32, last: bool = False) -> nn.Module:
    torch.manual_seed(0)
    module = timm.create_model(MODEL).eval().to(dtype)
    return module.to(memory_format=torch.channels_last) if last else module


def in_memory(tensors: Tensor, paths: Sequence[Path], module: nn.Module) -> Adapter:
    """Return an adapter that is handed ready tensors: what is left is what deeploc itself costs."""
    place = {path: number for number, path in enumerate(paths)}

    def look_up(contents: Sequence[Any]) -> Tensor:
        first = place[contents[0]]  # asked for in order, so that nothing has to be copied
        return tensors[first : first + len(contents)]

    return deeploc.wrap(module, preprocess=look_up, example=[paths[0]], batch_size=BATCH)


def speed(folder: Path, n: int, repeats: int) -> None:
    stimuli = make_images(folder, n)
    flat = [s for group in stimuli.values() for s in group]
    files = [Path(s.content) for s in flat]
    (folder / "bench.yaml").write_text(CONTRAST.replace("POOL", "mean"))
    contrast = deeploc.load_contrast(folder / "bench.yaml")
    ours = {
        dtype: deeploc.load_model(
            f"timm:{MODEL}", deeploc.ModelOptions(device="cpu", untrained=True, dtype=dtype)
        )
        for dtype in ("float32", "bfloat16")
    }
    ready = torch.rand(n, 3, 224, 224)
    ready_last = ready.to(memory_format=torch.channels_last)
    half = ready_last.to(torch.bfloat16)
    plain, last, last_half = made(), made(last=True), made(torch.bfloat16, last=True)
    work: dict[str, Callable[[], object]] = {
        "decode then forward": lambda: decode_then_forward(plain, files),
        "localize from files": lambda: deeploc.localize(ours["float32"], contrast, stimuli),
        "localize from files, bfloat16": lambda: deeploc.localize(
            ours["bfloat16"], contrast, stimuli
        ),
        "forward": lambda: forward(plain, ready.split(BATCH)),
        "forward, channels last": lambda: forward(last, ready_last.split(BATCH)),
        "forward, channels last, bfloat16": lambda: forward(last_half, half.split(BATCH)),
    }
    faster, module = (ready, plain)
    trial = {name: seconds(work[name]) for name in ("forward", "forward, channels last")}
    if trial["forward, channels last"] < trial["forward"]:
        faster, module = ready_last, last
    memory = in_memory(faster, files, module)
    work["localize in memory"] = lambda: deeploc.localize(memory, contrast, stimuli)
    report(interleaved(work, repeats))


def report(taken: Mapping[str, float]) -> None:
    for name, value in taken.items():
        print(f"{name:36s} {value:7.2f} s")
    bare = min(taken["forward"], taken["forward, channels last"])
    files = taken["localize from files"]
    print(f"(b) from files       {taken['decode then forward'] / files:.2f} x faster than (a)")
    print(f"(d) in memory        {100 * (taken['localize in memory'] / bare - 1):+.1f} % over (c)")
    half = taken["localize from files, bfloat16"]
    print(f"(e) bfloat16         {files / half:.2f} x faster from files", end=", ")
    print(f"{bare / taken['forward, channels last, bfloat16']:.2f} x the bare forward")


def memory(folder: Path, n: int) -> None:
    make_images(folder, n)
    contrast = folder / "none.yaml"
    contrast.write_text(CONTRAST.replace("POOL", "none"))
    command = [sys.executable, "-c", PEAK, str(contrast)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    units, before, peak = map(int, done.stdout.split())
    print(f"(f) {n} images, {units:,} units: {(peak - before) / 1e6:.2f} GB beyond the network")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=400, help="images in all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "memory"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "memory":
            speed(Path(folder), args.n, args.repeats)
        if args.only != "speed":
            memory(Path(folder), min(args.n, 64))


if __name__ == "__main__":
    main()
