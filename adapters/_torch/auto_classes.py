"""Which auto class of transformers loads a checkpoint: told by its config, never by its name.

The class that wrote the checkpoint (``architectures`` of its config.json) comes first, then what
transformers maps its type to: with a head that predicts text or classes, then without.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from deeploc.adapters._torch.quiet import quiet
from deeploc.core.adapter import Modality

CAUSAL = "AutoModelForCausalLM"
"""The auto class of causal language models."""

_MAPPINGS: dict[Modality, tuple[tuple[str, str], ...]] = {
    "text": (
        (CAUSAL, "MODEL_FOR_CAUSAL_LM_MAPPING"),
        ("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING"),
        ("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING"),
        ("AutoModelForImageTextToText", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING"),
        ("AutoModelForTextEncoding", "MODEL_FOR_TEXT_ENCODING_MAPPING"),
        ("AutoModel", "MODEL_MAPPING"),
    ),
    "image": (
        ("AutoModelForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING"),
        ("AutoModel", "MODEL_MAPPING"),
        ("AutoBackbone", "MODEL_FOR_BACKBONE_MAPPING"),
    ),
}
"""Auto class and the name of its mapping; those with a head come first."""

_INPUTS: dict[Modality, tuple[str, ...]] = {
    "text": ("input_ids",),
    "image": ("pixel_values", "inputs"),
}
"""The main input of a model that takes only this."""

_PARTS: dict[Modality, str] = {"text": "text_config", "image": "vision_config"}


def auto_classes(config: Any, modality: Modality) -> list[str]:
    """Return the auto classes that can load a checkpoint, the best first.

    A type that transformers maps both to a causal and to a masked language model (BERT), or to an
    encoder-decoder (BART), is the causal one only if its config says that it is a decoder. Any
    other causal type is loaded as a causal LM, also where the class that wrote it has no head,
    or has one that shows images to the same text model.

    Parameters
    ----------
    config
        Of the checkpoint.
    modality
        What the model is to be shown.
    """
    architecture = next(iter(config.architectures or ()), None)
    found = {auto: _mapped(config, mapping) for auto, mapping in _MAPPINGS[modality]}
    suitable = [a for a, classes in found.items() if _suits(config, a, classes, modality)]
    named = {a for a in suitable if architecture in {c.__name__ for c in found[a]}}
    demoted = set(_demoted(config, suitable))
    another = bool(named) and not named & {"AutoModel", "AutoModelForImageTextToText", CAUSAL}

    def rank(auto: str) -> int:
        if auto in demoted:
            return 3
        if auto == CAUSAL and not another:
            return 0
        return 1 if auto in named else 2

    return sorted(suitable, key=rank)


def own_auto_classes(config: Any) -> list[str]:
    """Return the auto classes for which a checkpoint brings Python code of its own.

    Parameters
    ----------
    config
        Of the checkpoint.
    """
    own = getattr(config, "auto_map", None) or {}
    return [auto for pairs in _MAPPINGS.values() for auto, _ in pairs if auto in own]


def modalities(config: Any) -> list[Modality]:
    """Return what the model of a config can be shown: text, images, or each in a tower of its own.

    A checkpoint of two towers whose class takes one modality (a classifier) is that one alone.

    Parameters
    ----------
    config
        Of the checkpoint.
    """
    possible = [modality for modality in _MAPPINGS if auto_classes(config, modality)]
    written = next(iter(config.architectures or ()), None)
    own = [m for m in possible if _takes(_class_called(written, config, m), m)]
    return own if len(own) == 1 and is_two_towers(config) else possible


def is_two_towers(config: Any) -> bool:
    """Return whether text and images go into towers that can be read one without the other.

    Parameters
    ----------
    config
        Of the checkpoint.
    """
    parts = all(getattr(config, part, None) is not None for part in _PARTS.values())
    return parts and bool(_mapped(config, "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING"))


def tower(model: Any, modality: Modality) -> Any:
    """Return the outermost module that takes one modality alone; the model itself if it does.

    Parameters
    ----------
    model
        A model of transformers.
    modality
        What it is to be shown.
    """
    part = getattr(model.config, _PARTS[modality], None)
    if part is None or _takes(type(model), modality):
        return model
    models = (m for m in model.children() if hasattr(m, "main_input_name"))  # heads are none
    return next((m for m in models if type(m.config) is type(part)), model)


def without_pooler(config: Any, auto: str) -> dict[str, bool]:
    """Return the argument that leaves out a pooler, where a class has one to leave out.

    Checkpoints of masked LMs and classifiers often lack it, and nothing is read after it.

    Parameters
    ----------
    config
        Of the checkpoint.
    auto
        The auto class that is to load it.
    """
    classes = _classes_of(config, auto)
    takes = signature(classes[0].__init__).parameters if classes else ()
    return {"add_pooling_layer": False} if "add_pooling_layer" in takes else {}


def pretrained_class(config: Any, auto: str) -> Any:
    """Return the class whose ``from_pretrained`` loads a checkpoint.

    Parameters
    ----------
    config
        Of the checkpoint.
    auto
        An auto class; that of backbones asks the hub for a local folder too, and so its class is
        taken itself.
    """
    if auto == "AutoBackbone":
        return _classes_of(config, auto)[0]
    return getattr(import_module("transformers"), auto)


def _classes_of(config: Any, auto: str) -> tuple[Any, ...]:
    """Return the classes of transformers itself; none where a checkpoint brings its own."""
    mappings = {name: mapping for pairs in _MAPPINGS.values() for name, mapping in pairs}
    return _mapped(config, mappings[auto])


def _suits(config: Any, auto: str, classes: Sequence[type], modality: Modality) -> bool:
    """Return whether a class takes the modality, or has a tower that does."""
    has_head = modality == "text" and auto not in ("AutoModel", "AutoModelForTextEncoding")
    return bool(classes) and (
        has_head or _takes(classes[0], modality) or (auto == "AutoModel" and is_two_towers(config))
    )


def _class_called(name: str | None, config: Any, modality: Modality) -> Any:
    """Return the class of transformers with this name that a checkpoint can be loaded as."""
    mapped = (_mapped(config, mapping) for _, mapping in _MAPPINGS[modality])
    return next((c for classes in mapped for c in classes if c.__name__ == name), None)


def _takes(model_class: Any, modality: Modality) -> bool:
    if model_class is None:
        return False
    taken = set(getattr(model_class, "input_modalities", ()))
    if taken == {"image"}:  # also where an image is given as a number for every colour
        return modality == "image"
    return model_class.main_input_name in _INPUTS[modality] and not taken >= {"text", "image"}


def _demoted(config: Any, suitable: Sequence[str]) -> Iterator[str]:
    """Yield the classes with a head that would make something else of the trunk than it is."""
    if config.is_encoder_decoder and "AutoModelForSeq2SeqLM" in suitable:
        yield from (CAUSAL, "AutoModelForMaskedLM")
    elif "AutoModelForMaskedLM" in suitable and not getattr(config, "is_decoder", False):
        yield CAUSAL


def _mapped(config: Any, mapping: str) -> tuple[Any, ...]:
    """Return the classes that transformers maps the type of a config to."""
    with quiet():  # the code of a model is imported here, with all that quantizes it
        return _mapped_classes(config, mapping)


def _mapped_classes(config: Any, mapping: str) -> tuple[Any, ...]:
    classes: Any = getattr(import_module("transformers"), mapping, None)
    if classes is None:
        classes = getattr(import_module("transformers.models.auto.modeling_auto"), mapping)
    if type(config) not in classes:
        return ()
    mapped = classes[type(config)]
    return tuple(mapped) if isinstance(mapped, tuple) else (mapped,)
