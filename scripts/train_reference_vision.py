"""Train a bundled reference image classifier on images that deeploc renders.

    python scripts/train_reference_vision.py cnn|vit [--out FOLDER] [--seed N]

Small timm architectures, trained from random weights to classify rendered images of six categories.
The images of the generator `rendered` are held out of training. The cnn takes about ten minutes on
one CPU core, the vit half an hour. timm loads the folder as `local-dir:FOLDER`.
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from torch.nn.functional import cross_entropy, pad

from deeploc.generators.images.rendered import LABELS, training_images
from deeploc.generators.registry import generate

SIZE = 64  # pixels
NAMES = list(LABELS.values())  # of the classes, in their order
MEAN, SD = 0.5, 0.2  # that pixels from 0 to 1 are normalized with
IMAGES = 20_000  # of a phase, rendered once for all of its epochs
BATCH = 64
SHIFT = 6  # pixels at most, in each direction
WARMUP = 0.1  # share of the steps
HELD_OUT = 200  # images per category that the accuracy is measured on
BUNDLED = Path(__file__).parents[1] / "deeploc" / "reference"


@dataclass(frozen=True)
class Phase:
    """One learning rate schedule, with its own images."""

    epochs: int
    rate: float  # the largest learning rate


@dataclass(frozen=True)
class Recipe:
    """One network: its timm architecture and arguments, and how it is trained."""

    architecture: str
    arguments: Mapping[str, Any]
    first: str
    last: str
    phases: tuple["Phase", ...]
    layout: torch.memory_format = field(default=torch.contiguous_format)


RECIPES = {
    "cnn": Recipe(
        "resnet18",
        {"stem_type": "deep", "stem_width": 16, "channels": [32, 48, 64, 80]},
        first="conv1.0",
        last="fc",
        phases=(Phase(10, 4e-3),),
        layout=torch.channels_last,
    ),
    "vit": Recipe(
        "vit_tiny_patch16_224",
        {"img_size": SIZE, "patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 4},
        first="patch_embed.proj",
        last="head",
        phases=(Phase(16, 2e-3), Phase(8, 1e-3)),  # after the first its accuracy is 89 %
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--out", type=Path, help="default: the bundled model's own folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    recipe, out = RECIPES[options.name], options.out or BUNDLED / options.name
    model = timm.create_model(recipe.architecture, num_classes=len(NAMES), **recipe.arguments)
    model.to(memory_format=recipe.layout)
    for number, part in enumerate(recipe.phases):
        if number:  # the first continues the stream of the initial weights
            torch.manual_seed(options.seed + number)
        train(model, part, options.seed + number)
    save(model, recipe, out)
    for category, share in accuracy(out, HELD_OUT, seed=0).items():
        print(f"accuracy of {category}: {share:.3f}", flush=True)


def rendered(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images (image, channel, y, x), uint8, and their classes."""
    stream = list(islice(training_images(seed, SIZE), IMAGES))
    images = torch.from_numpy(np.stack([pixels for pixels, _ in stream]))
    return images.movedim(-1, 1), torch.tensor([NAMES.index(label) for _, label in stream])


def train(model: torch.nn.Module, part: Phase, seed: int) -> None:
    """Minimize the cross-entropy by AdamW; the rate rises to its maximum, then falls to zero."""
    images, classes = rendered(seed)
    optimizer = torch.optim.AdamW(model.parameters(), part.rate, weight_decay=0.05)
    steps = len(images) // BATCH
    total = part.epochs * steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, part.rate, total, pct_start=WARMUP)
    rng = random.Random(seed)
    model.train()
    for epoch in range(part.epochs):
        losses = []
        for chosen in islice(torch.randperm(len(images)).split(BATCH), steps):
            batch = augmented(images[chosen], classes[chosen], rng)
            loss = cross_entropy(model(batch), classes[chosen])
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}  loss (nats): {sum(losses) / steps:.4f}", flush=True)


def augmented(images: torch.Tensor, classes: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """Return the images normalized, shifted, with channels permuted, and half of them mirrored.

    A letter is not mirrored, as the result would not be a letter.
    """
    padded = pad((images.float() / 255 - MEAN) / SD, (SHIFT,) * 4, mode="reflect")
    result = torch.empty(images.shape)
    for number, image in enumerate(padded):
        x, y = rng.randrange(2 * SHIFT + 1), rng.randrange(2 * SHIFT + 1)
        part = image[rng.sample(range(3), 3), y : y + SIZE, x : x + SIZE]
        mirrored = rng.random() < 0.5 and NAMES[classes[number]] != "letter"
        result[number] = part.flip(-1) if mirrored else part
    return result


def save(model: torch.nn.Module, recipe: Recipe, out: Path) -> None:
    """Write the folder that timm loads as ``local-dir:``."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    pretrained = {
        "input_size": [3, SIZE, SIZE],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": [MEAN] * 3,
        "std": [SD] * 3,
        "num_classes": len(NAMES),
        "label_names": NAMES,
        "first_conv": recipe.first,
        "classifier": recipe.last,
    }
    config = {
        "architecture": recipe.architecture,
        "num_classes": len(NAMES),
        "model_args": recipe.arguments,
        "pretrained_cfg": pretrained,
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def accuracy(folder: Path, n: int, seed: int) -> dict[str, float]:
    """Return the accuracy of the saved model on held-out images of each category."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    shares = {}
    for category, label in LABELS.items():
        paths = [r["image"] for r in generate("rendered", n, seed, {"category": category})]
        batch = torch.stack([transform(image) for image in opened(paths)])
        right = model(batch).argmax(1) == NAMES.index(label)
        shares[category] = right.double().mean().item()
    return shares


def opened(paths: list[str]) -> Iterator[Image.Image]:
    """Yield the images of some files."""
    for path in paths:
        with Image.open(path) as image:
            yield image.convert("RGB")


if __name__ == "__main__":
    main()
