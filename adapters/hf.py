"""Models of transformers, by hooks: ``hf:NAME`` or ``hf:/path``.

Causal and masked language models, encoders, encoder-decoders, the text model of vision-language
models, image classifiers and networks of images without classes. A model that has a tower for
text and one for images (CLIP, SigLIP) is read in the tower that the contrast shows something to;
``hf:NAME#text`` or ``hf:NAME#image`` names it where there is no contrast.
"""

import logging
from pathlib import Path
from typing import Any, get_args

from deeploc.core.adapter import Modality, ModelOptions
from deeploc.core.outline import Outline
from deeploc.errors import AdapterError

from ._image.adapter import ImageAdapter
from ._image.transformers import image_adapter, load_processor
from ._text.choose import text_adapter
from ._text.load import empty_model, load_config, load_errors, load_model, load_tokenizer
from ._text.reading import TextAdapter
from ._torch.auto_classes import (
    auto_classes,
    is_two_towers,
    modalities,
    own_auto_classes,
    tower,
)
from ._torch.checkpoint import locate
from ._torch.code import remote_code
from ._torch.device import check_unused, prepare_network
from ._torch.outline import outline_of, outlined_by

_log = logging.getLogger(__name__)


def outline(name: str, options: ModelOptions) -> Outline:
    """Return the size of a model from its config.json.

    Parameters
    ----------
    name, options
        As for `load`.

    Raises
    ------
    AdapterError
        If the config cannot be read.
    """
    place, wanted = _split(name)
    checkpoint = locate(place, options)
    config = load_config(place, checkpoint.source)
    own = own_auto_classes(config) if options.trust_remote_code else []
    modality = "text" if own else _modality(place, config, wanted, options.modality)
    auto = (own or auto_classes(config, modality))[0]
    with load_errors(f"model {place!r}", checkpoint.source):
        return outline_of(lambda: empty_model(checkpoint, config, auto), options)


@outlined_by(outline)
def load(
    name: str, options: ModelOptions, *, called: str | None = None
) -> TextAdapter | ImageAdapter:
    """Load a model.

    Parameters
    ----------
    name
        A name on the hub, or a local checkpoint folder; in either place a GGUF file
        (``/folder/FILE.gguf``, ``NAME:FILE.gguf``) or an adapter of peft, which is merged into its
        base model. ``#text`` or ``#image`` at its end chooses one of two towers.
    options
        All but ``weights``.
    called
        What the model is called in run folders; default: ``name``.

    Raises
    ------
    AdapterError
        If it cannot be loaded, with the reason.
    """
    check_unused(f"hf:{name}", options, "weights")
    place, wanted = _split(name)
    checkpoint = locate(place, options)
    config = load_config(place, checkpoint.source)
    own = own_auto_classes(config) if options.trust_remote_code else []
    modality = "text" if own else _modality(place, config, wanted, options.modality)
    load_inputs: Any = load_processor if modality == "image" else load_tokenizer
    prepared = load_inputs(place, checkpoint.tokenizer)
    model = load_model(place, checkpoint, options, own or auto_classes(config, modality))
    if code := remote_code(model, model.config, prepared):
        _log.warning("the Python code in hf:%s was run: %s", place, ", ".join(code))
    model, origin, called = tower(model, modality), checkpoint.origin(), called or name
    if modality == "text":
        return text_adapter(model, prepared, called, options, origin=origin)
    with load_errors(f"model {place!r}", checkpoint.source):
        # one that is spread over devices stays where it is
        network = model if options.device_map else prepare_network(model, options)
        return image_adapter(network, prepared, called, options, origin=origin)


def _split(name: str) -> tuple[str, Modality | None]:
    """Return the name without what chooses a tower, and the choice."""
    before, _, after = name.rpartition("#")
    if before and not Path(name).expanduser().exists():
        for modality in get_args(Modality):
            if after == modality:
                return before, modality
        raise AdapterError(
            f"model {name!r} cannot be loaded: after # comes text or image, the tower to read"
        )
    return name, None


def _modality(name: str, config: Any, wanted: Modality | None, shown: Modality | None) -> Modality:
    """Return what the model is to be shown: what was asked for, else what it takes."""
    possible = modalities(config)
    kind = config.model_type or "it"
    if not possible or (wanted and wanted not in possible):
        raise AdapterError(
            f"model {name!r} cannot be loaded: {kind} takes no {wanted or 'text and no image'} "
            "alone; hf: takes language models, encoders, encoder-decoders and networks of images"
        )
    if wanted or len(possible) == 1:
        return wanted or possible[0]
    no_head = auto_classes(config, "text")[0] == "AutoModel"
    if shown is None and no_head and is_two_towers(config):
        raise AdapterError(
            f"model {name!r}: {kind} has a tower for text and one for images; write "
            f"hf:{name}#text or hf:{name}#image"
        )
    return shown or possible[0]
