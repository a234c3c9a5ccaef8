"""Localize and ablate in one network of every architecture module of timm, and in torchvision's.

    python scripts/vision_breadth.py [timm|torchvision] [MODULE ...] [--csv FILE]

Random weights, the smallest network of each module of timm and every classifier of torchvision,
each at its own input size (a few take 768 pixels, and minutes). A network passes if its sites are
found; if the activations of a batch are those of its images one by one (so that no site mixes up
images; where float32 does not settle that, float64 does); if a silenced unit of every kind of site
reads zero at every position and changes the network's last features; and if nothing is left
behind. The rest is told in one line. A little noise is added to all weights, since many begin at
zero and would hide what lies before them.
"""

import argparse
import csv
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image

from deeploc.adapters import timm as timm_adapter
from deeploc.adapters import torchvision as torchvision_adapter
from deeploc.adapters._image.adapter import ImageAdapter
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import DeeplocError
from deeploc.stimuli import Stimulus

SIZE = 256  # pixels; the images themselves, the network crops them to its own size
N_IMAGES = 3
LIMIT = 1e-2  # what rounding may do to a unit between a batch and its images alone


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("library", nargs="?", choices=["timm", "torchvision"])
    parser.add_argument("modules", nargs="*", help="only these")
    parser.add_argument("--csv", type=Path, help="write the table here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stimuli = images(Path(folder))
        rows = [breadth_row(*wanted, stimuli) for wanted in networks(args.library, args.modules)]
    for library, n in Counter(row["library"] for row in rows).items():
        passed = sum(row["passed"] == "yes" for row in rows if row["library"] == library)
        print(f"{library}: {passed} of {n}")
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    sys.exit(any(row["passed"] != "yes" for row in rows))


def images(folder: Path) -> list[Stimulus]:
    """Return noise at three scales, so that no two images are alike to any network."""
    rng = np.random.default_rng(0)
    stimuli = []
    for number in range(N_IMAGES):
        coarse = rng.integers(0, 256, (8 * 2**number, 8 * 2**number, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)
        stimuli.append(Stimulus(path.name, path))
    return stimuli


def networks(library: str | None, modules: list[str]) -> Iterator[tuple[str, str, str]]:
    if library != "torchvision":
        for module in modules or timm.list_modules():
            if name := smallest(module):
                yield "timm", module, name
    if library != "timm":
        for name in modules or torchvision.models.list_models(module=torchvision.models):
            yield "torchvision", name, name


def smallest(module: str) -> str | None:
    """Return the network of the module with the fewest weights; some modules offer none."""
    sizes = {}
    for name in timm.list_models(module=module):
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                made = timm.create_model(name)
            except Exception:  # a few draw numbers on creation, which needs a real device
                continue
        sizes[name] = sum(parameter.numel() for parameter in made.parameters())
    return min(sizes, key=lambda name: sizes[name], default=None)


def breadth_row(library: str, module: str, name: str, stimuli: list[Stimulus]) -> dict[str, Any]:
    """Return a row of the table, printed as soon as it is known."""
    start = time.perf_counter()
    row = {"library": library, "module": module, "network": name, "passed": "yes", "sites": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapter = made(library, name)
            check(adapter, stimuli)
        kinds = Counter(site.kind for site in adapter.sites.sites)
        row["sites"] = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    except (AssertionError, DeeplocError) as error:
        row |= {"passed": "no", "sites": str(error)}
    except Exception as error:  # a crash is a failure too, and the one most worth to know
        row |= {"passed": "crash", "sites": f"{type(error).__name__}: {error}".splitlines()[0]}
    seconds = time.perf_counter() - start
    print(*row.values(), f"{seconds:.1f} s", sep="  ", flush=True)
    return row


def made(library: str, name: str) -> ImageAdapter:
    options = ModelOptions(untrained=True, batch_size=N_IMAGES, device="cpu")
    load = torchvision_adapter.load if library == "torchvision" else timm_adapter.load
    adapter = load(name, options)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.module.parameters():  # a gain of 0 would hide all before it
            parameter += 0.02 * torch.randn(parameter.shape, generator=noise)
    return adapter


def check(adapter: ImageAdapter, stimuli: list[Stimulus]) -> None:
    layout = adapter.sites
    if apart(adapter, stimuli, layout) >= LIMIT:  # mixing up images, or rounding in a large network
        adapter = in_float64(adapter)
        worst = apart(adapter, stimuli, layout)
        assert worst < LIMIT, f"a batch reads otherwise than its images one by one ({worst:.2g})"
    intact = adapter.classify(stimuli).features
    for kind in layout.kinds:
        chosen = first_units(layout, kind)
        with adapter.ablated(Ablation(UnitMask(layout, chosen))):
            ablated = read(adapter, stimuli, layout, "max")
            assert not ablated[:, chosen].any(), f"a silenced unit of {kind} does not read zero"
            features = adapter.classify(stimuli).features
        assert not np.array_equal(features, intact), f"silencing {kind} changes nothing"
    assert np.array_equal(adapter.classify(stimuli).features, intact), "something is left behind"


def apart(adapter: ImageAdapter, stimuli: list[Stimulus], layout: Layout) -> float:
    """Return by how much a batch reads otherwise than its images, as a share of each unit's own."""
    together = read(adapter, stimuli, layout)
    alone = np.concatenate([read(adapter, [stimulus], layout) for stimulus in stimuli])
    scale = np.abs(together).max(axis=0) + 1e-6
    return float((np.abs(together - alone) / scale).max())


def in_float64(adapter: ImageAdapter) -> ImageAdapter:
    return ImageAdapter(
        adapter.module.double(), adapter._preparation, adapter._size, identity=adapter.identity
    )


def read(
    adapter: ImageAdapter, stimuli: list[Stimulus], layout: Layout, pool: str = "mean"
) -> np.ndarray:
    batches = adapter.activations(stimuli, layout, Readout(pool=pool))  # type: ignore[arg-type]
    return np.concatenate([batch.values for batch in batches])


def first_units(layout: Layout, kind: str) -> np.ndarray:
    """Return the first half of the units of every other site of a kind."""
    chosen = np.zeros(layout.n_units, dtype=bool)
    for site in [site for site in layout.sites if site.kind == kind][::2]:
        start = layout.slices[site.name].start
        chosen[start : start + (site.n_units + 1) // 2] = True
    return chosen


if __name__ == "__main__":
    main()
