"""Locate a checkpoint: a local folder, the hub, or its cache when the hub is unreachable."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from deeploc.errors import AdapterError

REMEDY = "give a checkpoint folder as hf:/path/to/folder"
LOCAL_REMEDY = "give the folder that `save_pretrained` wrote"
_TIMEOUT = 10.0
"""Seconds to wait for the hub, once; transformers would retry for half a minute per file."""


def locate(name: str) -> Mapping[str, Any]:
    """Return the arguments of transformers' ``from_pretrained`` for the checkpoint ``name``.

    Raises
    ------
    AdapterError
        If it is a folder that does not exist or contains no checkpoint, or the hub has no model
        of that name.
    """
    common = {"trust_remote_code": False}  # code in a checkpoint is never run, and no one is asked
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise AdapterError(
                f"folder {name!r} contains no model: it has no config.json; {LOCAL_REMEDY}"
            )
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True, **common}
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise AdapterError(f"model {name!r} cannot be loaded: there is no such folder; {REMEDY}")
    offline = not _is_on_hub(name, REMEDY)
    return {"pretrained_model_name_or_path": name, "local_files_only": offline, **common}


@contextmanager
def cache_if_unreachable(name: str, remedy: str) -> Iterator[None]:
    """Inside the context use only the hub's cache, if the hub is unreachable.

    By itself its library retries for most of a minute before it fails.

    Parameters
    ----------
    name
        The model on the hub.
    remedy
        What to do without the hub, for the message.

    Raises
    ------
    AdapterError
        If the hub has no model of that name.
    """
    constants: Any = import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _is_on_hub(name, remedy)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_on_hub(name: str, remedy: str) -> bool:
    """Return whether the hub has this model; False if the hub is unreachable."""
    from huggingface_hub import HfApi, constants

    errors: Any = import_module("huggingface_hub.errors")  # which HTTP library it uses varies

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        HfApi().model_info(name, timeout=_TIMEOUT)
    except errors.HFValidationError as error:
        raise AdapterError(f"model {name!r} is not a valid name on the hub; {remedy}") from error
    except errors.RepositoryNotFoundError as error:
        raise AdapterError(
            f"model {name!r} cannot be loaded: the hub has no public model of that name; check "
            f"the spelling, log in with `hf auth login` if it is private, or {remedy}"
        ) from error
    except (errors.HTTPError, OSError):  # the cache may still have it
        return False
    return True
