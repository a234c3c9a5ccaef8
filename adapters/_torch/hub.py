"""Where a checkpoint is: a local folder, the hub, or the hub's cache when the hub is away."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from deeploc.errors import AdapterError

REMEDY = "give a checkpoint folder as hf:/path/to/folder"
LOCAL_REMEDY = "give the folder that `save_pretrained` wrote"
_TIMEOUT = 10.0
"""Seconds to wait for the hub, once; transformers would retry half a minute for every file."""


def locate(name: str) -> Mapping[str, Any]:
    """Return the arguments with which transformers finds the checkpoint called ``name``.

    Raises
    ------
    AdapterError
        If it is a folder that does not exist or no checkpoint, or a name the hub does not know.
    """
    common = {"trust_remote_code": False}  # a model never runs code of its own; nor is one asked
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise AdapterError(
                f"folder {name!r} holds no model: it has no config.json; {LOCAL_REMEDY}"
            )
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True, **common}
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise AdapterError(f"model {name!r} cannot be loaded: there is no such folder; {REMEDY}")
    here = {"pretrained_model_name_or_path": name, "local_files_only": not _on_hub(name, REMEDY)}
    return {**here, **common}


@contextmanager
def cache_if_away(name: str, remedy: str) -> Iterator[None]:
    """Inside the context look only into the hub's cache, where the hub itself cannot be asked.

    Left alone its library asks for the better part of a minute before it says so.

    Raises
    ------
    AdapterError
        If the hub answers that it has no model of that name.
    """
    constants: Any = import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _on_hub(name, remedy)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _on_hub(name: str, remedy: str) -> bool:
    """Return whether the hub has this model; False if it cannot be asked."""
    from huggingface_hub import HfApi, constants

    errors: Any = import_module("huggingface_hub.errors")  # which HTTP library it uses varies

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        HfApi().model_info(name, timeout=_TIMEOUT)
    except errors.HFValidationError as error:
        raise AdapterError(f"model {name!r} is no name of the hub's; {remedy}") from error
    except errors.RepositoryNotFoundError as error:
        raise AdapterError(
            f"model {name!r} cannot be loaded: the hub has no public model of that name; check "
            f"the spelling, log in with `hf auth login` if it is private, or {remedy}"
        ) from error
    except (errors.HTTPError, OSError):  # away, refused or broken: the cache may still have it
        return False
    return True
