"""Networks of images of transformers: preparation, classes, features, and towers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from deeploc.adapters._image.adapter import ImageAdapter
from deeploc.adapters._text.reading import TextAdapter
from deeploc.adapters.hf import load
from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing import check_adapter

from .conftest import SENTENCES, shaken, texts, tokenizer_of, values_of

_BLOCKS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
_IMAGE = {**_BLOCKS, "image_size": 32, "patch_size": 8}
_NAMES = {0: "tench, Tinca tinca", 1: "cock", 2: "hen"}
_FIXED = {"height": 32, "width": 32}


def folder_of(model: Any, folder: Path, processor: Any = None) -> Path:
    shaken(model).save_pretrained(folder)
    (processor or hf.ViTImageProcessor(size=_FIXED)).save_pretrained(folder)
    tokenizer_of(bos=True, eos=True, pad=True).save_pretrained(folder)
    return folder


def classifier(**names: Any) -> Any:
    return hf.ViTForImageClassification(hf.ViTConfig(**_IMAGE, **names))


def towers() -> Any:
    text = {**_BLOCKS, "vocab_size": 330, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 2}
    return hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=_IMAGE, projection_dim=8))


def adapter_at(folder: Path, name: str = "", **options: Any) -> Any:
    return load(f"{folder}{name}", ModelOptions(device="cpu", **options))


def pixels_of(folder: Path, stimuli: list[Stimulus]) -> torch.Tensor:
    """Return what the folder's own processor makes of images, one by one."""
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    opened = [Image.open(s.content).convert("RGB") for s in stimuli]
    made = [processor(images=image, return_tensors="pt")["pixel_values"] for image in opened]
    return torch.cat(made)


def test_a_classifier_is_shown_what_its_processor_makes(
    tmp_path: Path, image_files: list[Stimulus]
) -> None:
    """Logits equal those of transformers with the folder's processor; classes have their names."""
    adapter = adapter_at(folder_of(classifier(id2label=_NAMES), tmp_path))
    with torch.no_grad():
        expected = adapter.module(pixels_of(tmp_path, image_files)).logits
    predictions = adapter.classify(image_files)

    np.testing.assert_allclose(predictions.logits, expected, rtol=1e-4, atol=1e-5)
    assert adapter.classes == (("tench", "Tinca tinca"), ("cock",), ("hen",))
    check_adapter(adapter, image_files)


def test_the_processor_is_part_of_the_identity(tmp_path: Path) -> None:
    """Other settings of the processor make another model."""
    one = adapter_at(folder_of(classifier(), tmp_path / "a"))
    processor = hf.ViTImageProcessor(size=_FIXED, image_mean=[0.1, 0.2, 0.3])
    other = adapter_at(folder_of(classifier(), tmp_path / "b", processor))

    assert one.identity["preparation"]["image_mean"] == [0.5, 0.5, 0.5]
    assert other.identity["preparation"]["image_mean"] == [0.1, 0.2, 0.3]
    assert one.classes == ()


def test_a_backbone_has_features_only(tmp_path: Path, image_files: list[Stimulus]) -> None:
    """Without classes the features are the last hidden state, averaged over positions."""
    adapter = adapter_at(folder_of(hf.Dinov2Model(hf.Dinov2Config(**_IMAGE)), tmp_path))
    with torch.no_grad():
        states = adapter.module(pixels_of(tmp_path, image_files)).last_hidden_state
    predictions = adapter.classify(image_files)

    np.testing.assert_allclose(predictions.features, states.mean(dim=1), rtol=1e-4, atol=1e-5)
    with pytest.raises(AdapterError, match="the network has no classes, only features"):
        _ = predictions.logits


def test_what_is_shown_chooses_the_tower(tmp_path: Path, image_files: list[Stimulus]) -> None:
    """A contrast's modality, or a suffix where there is none, says which tower is read."""
    folder = folder_of(towers(), tmp_path)
    text, image = (adapter_at(folder, modality=m) for m in ("text", "image"))

    assert type(text) is TextAdapter
    assert type(image) is ImageAdapter
    assert adapter_at(folder, "#text").sites == text.sites
    assert adapter_at(folder, "#image", modality="text").sites == image.sites
    assert values_of(text, texts(SENTENCES), text.sites).all()
    assert image.classify(image_files).features.shape == (len(image_files), 16)


def test_the_tower_must_be_known(tmp_path: Path) -> None:
    """Neither modality nor suffix, or another suffix: one line that says what to write."""
    folder = folder_of(towers(), tmp_path)
    with pytest.raises(AdapterError, match=r"write hf:.*#text or hf:.*#image"):
        adapter_at(folder)
    with pytest.raises(AdapterError, match="after # comes text or image"):
        adapter_at(folder, "#vision")


def test_a_text_tower_reads_as_transformers_does(tmp_path: Path) -> None:
    """The first block of the text tower is the first hidden state of the whole model."""
    adapter = adapter_at(folder_of(towers(), tmp_path), "#text")
    whole = hf.CLIPModel.from_pretrained(tmp_path).eval()
    ids = torch.tensor([adapter.tokenizer(SENTENCES[0])["input_ids"]])
    with torch.no_grad():
        states = whole.text_model(ids, output_hidden_states=True).hidden_states
    blocks = adapter.sites.choose(["block"])
    values = values_of(adapter, texts(SENTENCES[:1]), blocks, tokens="all", pool="mean")

    np.testing.assert_allclose(values[0, :16], states[1][0].mean(dim=0), rtol=1e-4, atol=1e-5)


PROCESSORS: dict[str, tuple[Any, str]] = {
    "several sizes": (
        hf.CLIPImageProcessor(size={"shortest_edge": 32}, do_center_crop=False),
        "deeploc needs three colours and one size",
    ),
    "another size": (
        hf.ViTImageProcessor(size={"height": 48, "width": 48}),
        "cannot be run on images alone: ValueError: Input image size",
    ),
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_a_processor_that_does_not_fit_is_one_line(
    case: str, tmp_path: Path, image_files: list[Stimulus]
) -> None:
    """Images of several sizes, or of one that the network does not take."""
    processor, message = PROCESSORS[case]
    folder = folder_of(classifier(), tmp_path, processor)
    with pytest.raises(AdapterError, match=message):
        adapter_at(folder).classify(image_files)


def test_a_missing_processor_is_one_line(tmp_path: Path) -> None:
    """The folder needs its image processor beside the weights."""
    folder = folder_of(classifier(), tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(AdapterError, match=r"save its image processor \(preprocessor_config.json"):
        adapter_at(folder)


def test_untrained_networks_follow_the_seed(tmp_path: Path) -> None:
    """Random weights of the same architecture, equal for equal seeds."""
    folder = folder_of(classifier(), tmp_path)
    made = [adapter_at(folder, untrained=True, seed=seed) for seed in (1, 1, 2)]
    weights = [adapter.identity["weights"] for adapter in made]

    assert weights[0] == weights[1] != weights[2]


def test_random_masks_are_refused(tmp_path: Path) -> None:
    """A network that masks patches at random gives an image other activations each time."""
    masked = hf.ViTMAEModel(hf.ViTMAEConfig(**_IMAGE))
    with pytest.raises(AdapterError, match="draws random numbers for every image"):
        adapter_at(folder_of(masked, tmp_path))


def test_what_embeds_an_image_is_no_block(tmp_path: Path) -> None:
    """Also in a model inside another that has a classifier."""
    sites = adapter_at(folder_of(classifier(), tmp_path)).sites
    assert [site.path for site in sites.choose(["embedding"]).sites] == ["vit.embeddings"]
    assert [site.path for site in sites.choose(["block"]).sites] == ["vit.layers.0", "vit.layers.1"]


def test_blocks_in_stages_in_a_model_inside_another(tmp_path: Path) -> None:
    """Stages of a trunk that holds no convolutions are searched: Swin's blocks are found."""
    sizes = {"depths": [2, 2], "num_heads": [2, 2], "window_size": 4, "embed_dim": 8}
    config = hf.SwinConfig(image_size=32, patch_size=4, **sizes)
    sites = adapter_at(folder_of(hf.SwinForImageClassification(config), tmp_path)).sites
    for kind in ("block", "heads", "mlp-neurons"):
        assert len(sites.choose([kind]).sites) == 4, kind


def patches() -> tuple[Any, Any]:
    """Return a network that takes patches, their mask and their numbers, and its processor."""
    text = {**_BLOCKS, "vocab_size": 330, "eos_token_id": 1, "bos_token_id": 0}
    vision = {**_BLOCKS, "patch_size": 8, "num_patches": 16}
    config = hf.Siglip2Config(text_config=text, vision_config=vision)
    processor = hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return hf.Siglip2ForImageClassification(config), processor


def colour_numbers() -> tuple[Any, Any]:
    """Return a network that takes a number for the colour of every pixel, and its processor."""
    colours = np.random.default_rng(0).uniform(-1, 1, (512, 3)).tolist()
    config = hf.ImageGPTConfig(n_embd=16, n_layer=2, n_head=2, n_positions=64, num_labels=3)
    processor = hf.ImageGPTImageProcessor(clusters=colours, size={"height": 8, "width": 8})
    return hf.ImageGPTForImageClassification(config), processor


@pytest.mark.parametrize("made", [patches, colour_numbers])
def test_networks_that_take_more_than_pixels(
    made: Any, tmp_path: Path, image_files: list[Stimulus]
) -> None:
    """All that the processor makes of a square image is shown, in bfloat16 too."""
    network, processor = made()
    folder = folder_of(network, tmp_path, processor)
    adapter = adapter_at(folder)
    check_adapter(adapter, image_files)
    blocks = adapter.sites.choose(["block"])
    values = values_of(adapter, image_files, blocks, pool="mean")

    for row, stimulus in zip(values, image_files, strict=True):
        image = Image.open(stimulus.content).convert("RGB")
        square = image.resize((max(image.size),) * 2) if made is patches else image
        shown = processor(images=square, return_tensors="pt")
        with torch.no_grad():
            states = network(**shown, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(row[:16], states[1][0].mean(dim=0), rtol=1e-4, atol=1e-5)
    half = adapter_at(folder, dtype="bfloat16").classify(image_files).logits
    np.testing.assert_allclose(half, adapter.classify(image_files).logits, rtol=0.1, atol=0.1)
