"""Where a model of transformers comes from: a folder, a GGUF file, the hub, an adapter of peft."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeploc.core.adapter import ModelOptions
from deeploc.errors import AdapterError

from .hub import cached_file, commit_of, downloaded, files_on_hub
from .packages import optional_package
from .peft import ADAPTER_CONFIG, ADAPTER_FILES, AdapterFolder, read_adapter

REMEDY = "give a checkpoint folder as hf:/path/to/folder"
LOCAL_REMEDY = "give the folder that `save_pretrained` wrote"
_GGUF = ".gguf"


@dataclass(frozen=True)
class Checkpoint:
    """Where a model comes from, whichever class of transformers loads it.

    Parameters
    ----------
    source
        Arguments of ``from_pretrained`` for the configuration and the weights.
    tokenizer
        The same for what prepares the input.
    adapter
        The adapter of peft that is merged into the weights.
    """

    source: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    adapter: AdapterFolder | None = None

    @property
    def gguf(self) -> str | None:
        """The name of the GGUF file that holds the weights."""
        return self.source.get("gguf_file")

    @property
    def is_made(self) -> bool:
        """Whether its weights are made in memory, by decoding or merging."""
        return self.adapter is not None or self.gguf is not None

    def origin(self) -> dict[str, Any]:
        """Return what the identity of a model says of it, once it is loaded.

        These are the commit of a revision that was asked for, the name of a GGUF file, and the
        base model of an adapter.
        """
        place, revision = self.source["pretrained_model_name_or_path"], self.source.get("revision")
        origin: dict[str, Any] = {}
        if revision is not None:
            origin["revision"] = commit_of(cached_file(place, "config.json", revision)) or revision
        if self.gguf is not None:
            origin["gguf"] = self.gguf
            commit = commit_of(Path(place) / self.gguf)
            origin |= {"revision": commit} if commit else {}
        if self.adapter is not None:
            origin["peft"] = self.adapter.described()
        return origin


def locate(name: str, options: ModelOptions | None = None) -> Checkpoint:
    """Return where the model ``name`` comes from; nothing large is read.

    Parameters
    ----------
    name
        A folder, a GGUF file, a name on the hub, or ``NAME:FILE.gguf`` for a GGUF file there.
    options
        With ``revision`` and ``trust_remote_code``.

    Raises
    ------
    AdapterError
        If there is no such folder or file, it contains no checkpoint, or the hub has no model of
        that name.
    """
    options = options or ModelOptions()
    path = Path(name).expanduser()
    if name.lower().endswith(_GGUF):
        return _gguf_file(name, path, options)
    if path.is_dir():
        _check_no_revision(name, options.revision)
        files = [file.name for file in path.iterdir()]
        if is_adapter(name, files):
            return _adapted(read_adapter(name, path), options)
        return _same(_folder(name, path, options))
    source, hub_files = _on_hub(name, options)
    if is_adapter(name, hub_files):
        return _adapted(read_adapter(name, downloaded(name, ADAPTER_FILES, source)), options)
    return _same(source)


def is_adapter(name: str, files: Iterable[str]) -> bool:
    """Return whether these are the files of an adapter of peft, which has no model of its own.

    Parameters
    ----------
    name
        Of the model, for messages.
    files
        Their names.

    Raises
    ------
    AdapterError
        If there are both an adapter and the weights of a model.
    """
    known = set(files)
    if ADAPTER_CONFIG not in known:
        return False
    weights = sorted(f for f in known if f.startswith(("model", "pytorch_model")) and "." in f)
    weights = [f for f in weights if f.endswith((".safetensors", ".bin", ".index.json"))]
    if "config.json" in known and weights:
        raise AdapterError(
            f"{name!r} contains both a model ({weights[0]}) and an adapter ({ADAPTER_CONFIG}), so "
            "that it is not told which one is meant; keep them in two folders"
        )
    return True


def _same(source: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(source, source)


def _folder(name: str, folder: Path, options: ModelOptions) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        held = sorted(file.name for file in folder.iterdir() if file.suffix.lower() == _GGUF)
        remedy = f"give one file of it, hf:{folder / held[0]}" if held else LOCAL_REMEDY
        raise AdapterError(f"folder {name!r} contains no model: it has no config.json; {remedy}")
    return _source(str(folder), options, local_files_only=True)


def _on_hub(name: str, options: ModelOptions) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the arguments for a model on the hub, and the names of its files."""
    if Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise AdapterError(f"model {name!r} cannot be loaded: there is no such folder; {REMEDY}")
    files = files_on_hub(name, REMEDY, options.revision)
    source = _source(name, options, local_files_only=files is None)
    if options.revision is not None:
        source["revision"] = options.revision
    if files is None:
        cached = cached_file(name, ADAPTER_CONFIG, options.revision)
        files = frozenset(file.name for file in cached.parent.iterdir()) if cached else frozenset()
    return source, files


def _gguf_file(name: str, path: Path, options: ModelOptions) -> Checkpoint:
    """Return the checkpoint of one GGUF file, ``/folder/FILE`` or ``HUB/NAME:FILE``."""
    optional_package("gguf", f"model {name!r} (a GGUF file)")
    repository, colon, inner = name.partition(":")
    if path.is_file():
        _check_no_revision(name, options.revision)
    elif colon and not Path(repository).expanduser().exists():
        source, _ = _on_hub(repository, options)
        # not left to transformers, which takes the tokenizer from the main branch always
        path = downloaded(repository, inner, source)
    else:
        raise AdapterError(
            f"model {name!r} cannot be loaded: there is no such file; give a GGUF file as "
            "hf:/path/to/file.gguf, or as hf:NAME:FILE.gguf from the hub"
        )
    source = _source(str(path.parent), options, local_files_only=True)
    return _same({**source, "gguf_file": path.name})


def _adapted(adapter: AdapterFolder, options: ModelOptions) -> Checkpoint:
    """Return the checkpoint of an adapter: its base model, and the tokenizer beside either."""
    of_base = replace(options, revision=adapter.base_revision)
    try:
        source = _base(adapter, of_base)
    except AdapterError as error:
        raise AdapterError(f"adapter {adapter.name!r}: its base {error}") from error
    if not adapter.has_tokenizer:
        return Checkpoint(source, source, adapter)
    tokenizer = _source(str(adapter.folder), options, local_files_only=True)
    return Checkpoint(source, tokenizer, adapter)


def _base(adapter: AdapterFolder, options: ModelOptions) -> dict[str, Any]:
    beside = adapter.folder / Path(adapter.base).expanduser()
    folder = beside if beside.is_dir() else Path(adapter.base)
    if folder.is_dir():
        source, files = _folder(str(folder), folder, options), [f.name for f in folder.iterdir()]
    else:
        source, hub_files = _on_hub(adapter.base, options)
        files = list(hub_files)
    if ADAPTER_CONFIG in files:
        raise AdapterError(
            f"model {adapter.base!r} is an adapter too; merge that one into its own base first "
            "(`merge_and_unload` of peft, then `save_pretrained`)"
        )
    return source


def _source(place: str, options: ModelOptions, *, local_files_only: bool) -> dict[str, Any]:
    return {
        "pretrained_model_name_or_path": place,
        "local_files_only": local_files_only,
        "trust_remote_code": options.trust_remote_code,  # False: not run, and no one is asked
    }


def _check_no_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise AdapterError(
            f"--revision {revision} is for models on the hub, but {name!r} is a local file or "
            "folder; leave it out"
        )
