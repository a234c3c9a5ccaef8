"""Adapters of peft: what their folder says, and how they are merged into their base model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeploc.errors import AdapterError

from .hub import commit_of
from .packages import optional_package

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_*", "*token*", "vocab*", "merges.txt", "*.model", "*.jinja")
"""The files of an adapter and of its tokenizer; others are not needed."""

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class AdapterFolder:
    """An adapter of peft on disk.

    Parameters
    ----------
    name
        What the user called it.
    folder
        Where it is.
    base
        Its base model: a folder, or a name on the hub.
    base_revision
        The revision of the base model that it was trained on, if it says so.
    kind
        The method of peft, ``LORA`` for example.
    """

    name: str
    folder: Path
    base: str
    base_revision: str | None
    kind: str

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer was saved beside the adapter."""
        return any((self.folder / file).is_file() for file in _TOKENIZER)

    def described(self) -> dict[str, Any]:
        """Return the base model, the method, and the commit of an adapter from the hub."""
        commit = commit_of(self.folder / ADAPTER_CONFIG)
        described = {"base": self.base, "method": self.kind}
        return described | ({"revision": commit} if commit else {})


def read_adapter(name: str, folder: Path) -> AdapterFolder:
    """Return what a folder says of the adapter in it.

    Parameters
    ----------
    name
        What the user called it, for messages.
    folder
        With adapter_config.json.

    Raises
    ------
    AdapterError
        If peft is not installed, the folder is incomplete, or the adapter adds virtual tokens.
    """
    peft = optional_package("peft", f"model {name!r} (an adapter)")
    config = _config(name, folder)
    base, kind = config.get("base_model_name_or_path"), str(config.get("peft_type"))
    if not isinstance(base, str) or not base:
        raise AdapterError(
            f"adapter {name!r} does not say what its base model is; write it into "
            f"base_model_name_or_path of its {ADAPTER_CONFIG}"
        )
    known = peft.PEFT_TYPE_TO_CONFIG_MAPPING.get(kind)
    if known is None:
        raise AdapterError(
            f"adapter {name!r} is of type {kind!r}, which this peft does not know; "
            "`pip install -U peft`"
        )
    if issubclass(known, peft.PromptLearningConfig):
        raise AdapterError(
            f"adapter {name!r} adds virtual tokens to its input ({kind}), which cannot be read or "
            "ablated; give a LoRA or a merged model, or the base model"
        )
    if not any((folder / file).is_file() for file in _WEIGHTS):
        raise AdapterError(f"adapter {name!r} has no weights ({_WEIGHTS[0]}); save it again")
    return AdapterFolder(name, folder, base, config.get("revision"), kind)


def resize_for(model: Any, adapter: AdapterFolder) -> None:
    """Give a base model as many token embeddings as the adapter was trained with.

    Parameters
    ----------
    model
        The base model; it is changed.
    adapter
        One that was saved with the embeddings of a vocabulary that was enlarged.
    """
    embedding = model.get_input_embeddings()
    path = next(path for path, module in model.named_modules() if module is embedding)
    saved = _tensors(adapter).get(f"base_model.model.{path}.weight")
    if saved is not None and len(saved) != len(embedding.weight):
        model.resize_token_embeddings(len(saved), mean_resizing=False)


def merged(model: Any, adapter: AdapterFolder) -> Any:
    """Return the base model with the adapter merged into its weights by peft.

    Parameters
    ----------
    model
        The base model; it is changed.
    adapter
        The adapter.

    Raises
    ------
    AdapterError
        If it cannot be merged, or its weights are not those of an adapter of this base model.
    """
    peft = optional_package("peft", f"model {adapter.name!r} (an adapter)")
    resize_for(model, adapter)
    adapted = peft.PeftModel.from_pretrained(model, str(adapter.folder))
    _check_complete(adapter, adapted, peft)
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise AdapterError(
            f"adapter {adapter.name!r}: {adapter.kind} cannot be merged into the weights of its "
            "base model; give a LoRA or the base model"
        )
    return adapted.merge_and_unload()


def _check_complete(adapter: AdapterFolder, adapted: Any, peft: Any) -> None:
    """Refuse weights that do not fit: peft leaves those that are missing random."""
    saved = set(_tensors(adapter))
    needed = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
    own = {name.replace(".default.", ".") for name in adapted.state_dict()}
    for difference, fault in ((needed - saved, "lacks"), (saved - needed - own, "has")):
        if difference:
            raise AdapterError(
                f"adapter {adapter.name!r} does not fit its base model {adapter.base!r}: it "
                f"{fault} {len(difference)} weights (first: {min(difference)}); give the base "
                "model that it was trained on"
            )


def _tensors(adapter: AdapterFolder) -> Mapping[str, Any]:
    from peft.utils.save_and_load import load_peft_weights

    tensors: Mapping[str, Any] = load_peft_weights(str(adapter.folder), device="cpu")
    return tensors


def _config(name: str, folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"adapter {name!r} cannot be loaded: its {ADAPTER_CONFIG} is not valid JSON ({error})"
        ) from error
    if not isinstance(config, Mapping):
        raise AdapterError(
            f"adapter {name!r}: its {ADAPTER_CONFIG} holds no mapping; save it again"
        )
    return config
