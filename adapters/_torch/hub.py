"""The hub of models: what it has, and its cache when it is unreachable."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from deeploc.errors import AdapterError

_TIMEOUT = 10.0
"""Seconds to wait for the hub, once; transformers would retry for half a minute per file."""


@contextmanager
def cache_if_unreachable(name: str, remedy: str, revision: str | None = None) -> Iterator[None]:
    """Inside the context use only the hub's cache, if the hub is unreachable.

    By itself its library retries for most of a minute before it fails.

    Parameters
    ----------
    name
        The model on the hub.
    remedy
        What to do without the hub, for the message.
    revision
        Branch, tag or commit; ``None``: the main branch.

    Raises
    ------
    AdapterError
        If the hub has no model of that name, or no such revision of it.
    """
    constants: Any = import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or files_on_hub(name, remedy, revision) is None
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def files_on_hub(name: str, remedy: str, revision: str | None = None) -> frozenset[str] | None:
    """Return the names of the files of a model on the hub; None if the hub is unreachable.

    Parameters
    ----------
    name, remedy, revision
        As for `cache_if_unreachable`.

    Raises
    ------
    AdapterError
        If the hub has no model of that name, or no such revision of it.
    """
    from huggingface_hub import HfApi, constants

    errors: Any = import_module("huggingface_hub.errors")  # which HTTP library it uses varies

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        info = HfApi().model_info(name, revision=revision, timeout=_TIMEOUT)
    except errors.HFValidationError as error:
        raise AdapterError(f"model {name!r} is not a valid name on the hub; {remedy}") from error
    except errors.RepositoryNotFoundError as error:
        raise AdapterError(
            f"model {name!r} cannot be loaded: the hub has no public model of that name; check "
            f"the spelling, log in with `hf auth login` if it is private, or {remedy}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise AdapterError(
            f"model {name!r} has no revision {revision!r} on the hub; --revision takes a branch, "
            f"a tag or a commit that https://huggingface.co/{name}/commits lists"
        ) from error
    except (errors.HTTPError, OSError):  # the cache may still have it
        return None
    return frozenset(file.rfilename for file in info.siblings or ())


def cached_file(name: str, file: str, revision: str | None = None) -> Path | None:
    """Return where the hub's cache holds a file of a model, None if it does not.

    Parameters
    ----------
    name, revision
        As for `cache_if_unreachable`.
    file
        Its path in the model.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    folder = constants.HF_HUB_CACHE
    found = try_to_load_from_cache(name, file, cache_dir=folder, revision=revision)
    return Path(found) if isinstance(found, str) else None


def downloaded(name: str, files: str | Sequence[str], source: Mapping[str, Any]) -> Path:
    """Return one file of a model, or the folder of some, in the hub's cache.

    Parameters
    ----------
    name
        The model on the hub.
    files
        The name of a file, or patterns of several.
    source
        Arguments of ``from_pretrained``: the revision, and whether only the cache is used.

    Raises
    ------
    AdapterError
        If they cannot be downloaded and are not in the cache.
    """
    from huggingface_hub import constants, hf_hub_download, snapshot_download

    where: dict[str, Any] = {
        "revision": source.get("revision"),
        "local_files_only": source["local_files_only"],
        "cache_dir": constants.HF_HUB_CACHE,
    }
    try:
        if isinstance(files, str):
            return Path(hf_hub_download(name, files, **where))
        return Path(snapshot_download(name, allow_patterns=list(files), **where))
    except Exception as error:  # the list of what a hub can raise has no end
        reason = " ".join(str(error).split())[:200]
        raise AdapterError(
            f"model {name!r} cannot be downloaded: {reason}; download it, and give its path"
        ) from error


def commit_of(cached: Path | None) -> str | None:
    """Return the commit to which a file in the hub's cache belongs.

    Parameters
    ----------
    cached
        The file, ``.../snapshots/COMMIT/...``.
    """
    parts = cached.parts if cached else ()
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None
