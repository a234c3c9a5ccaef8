import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from deeploc.generators.images.rendered import LABELS
from deeploc.generators.registry import generate

FOLDERS = {name: Path(str(files("deeploc") / "reference" / name)) for name in ("cnn", "vit")}
SEED = 2024  # not the one the training script reports on
NUMBER = 100  # pictures per category


@pytest.fixture(scope="module")
def presented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Return the files of held-out pictures of each category."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPLOC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return {
            category: [Path(record["image"]) for record in sampled(category)] for category in LABELS
        }


def sampled(category: str) -> list[dict[str, str]]:
    return generate("rendered", NUMBER, SEED, {"category": category})


@torch.no_grad()
def accuracies(folder: Path, presented: dict[str, list[Path]]) -> dict[str, float]:
    """Return the share of pictures of each category that timm's own loading names right."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    names = model.pretrained_cfg["label_names"]
    shares = {}
    for category, paths in presented.items():
        logits = model(torch.stack([transform(Image.open(path)) for path in paths]))
        shares[category] = float(np.mean([names[k] == LABELS[category] for k in logits.argmax(1)]))
    return shares


@pytest.mark.parametrize("name", FOLDERS)
def test_it_knows_its_categories(name: str, presented: dict[str, list[Path]]) -> None:
    """At least 90 % of 600 held-out pictures are right; the model card tells each category's."""
    shares = accuracies(FOLDERS[name], presented)

    assert np.mean(list(shares.values())) >= 0.90


@pytest.mark.parametrize("name", FOLDERS)
def test_its_classes_are_the_labels_of_the_generator(name: str) -> None:
    """The names in its configuration are those that the pictures' records carry."""
    config = json.loads((FOLDERS[name] / "config.json").read_text())

    assert config["pretrained_cfg"]["label_names"] == list(LABELS.values())
    assert config["num_classes"] == config["pretrained_cfg"]["num_classes"] == len(LABELS)
    assert config["pretrained_cfg"]["input_size"] == [3, 64, 64]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_layers_it_names_exist(name: str) -> None:
    """first_conv reads three channels and the classifier answers with six classes."""
    model = timm.create_model(f"local-dir:{FOLDERS[name]}", pretrained=True)
    first = model.get_submodule(model.pretrained_cfg["first_conv"])
    last = model.get_submodule(model.pretrained_cfg["classifier"])

    assert (first.in_channels, last.out_features) == (3, 6)


def test_both_are_small() -> None:
    """The two folders together stay under 6 MB."""
    sizes = [path.stat().st_size for folder in FOLDERS.values() for path in folder.iterdir()]

    assert sum(sizes) < 6_000_000


@pytest.mark.parametrize("name", FOLDERS)
def test_the_model_card_is_there(name: str) -> None:
    """It is headed by the name that the model is called by."""
    assert (FOLDERS[name] / "README.md").read_text().startswith(f"# reference:{name}\n")
