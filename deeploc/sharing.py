"""Networks on the hub: a run's mask in a repository of its own or among others, and back.

The layout follows that of BIDS (Gorgolewski et al. 2016, doi:10.1038/sdata.2016.44), in which a
file is named by what it is about, so that many runs can lie beside each other:
``model-NAME/model-NAME_contrast-NAME_desc-KEY_mask.safetensors`` with a ``.json`` of the same name
beside it. No stimulus leaves the machine, only the hashes of the conditions.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deeploc.errors import HubError
from deeploc.runs.folder import RunFolder
from deeploc.runs.mask_facts import facts_of
from deeploc.runs.mask_files import FORMATS
from deeploc.runs.saved_run import SavedRun

SCHEME = "hf://"
_MASK = "_mask.safetensors"
_BIDS = "1.10.0"
_SYNTAX = re.compile(
    r"hf://(?P<datasets>datasets/)?(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^/\s]+))?"
    r"(/(?P<path>[^\s]+))?"
)


@dataclass(frozen=True)
class Address:
    """A place on the hub.

    Parameters
    ----------
    name
        ``USER/NAME``.
    kind
        ``model`` or ``dataset``: two repositories may have one name.
    revision
        A branch, a tag or a commit; None for the main branch.
    path
        A file or folder in the repository; empty for all of it.
    """

    name: str
    kind: str = "model"
    revision: str | None = None
    path: str = ""

    def __str__(self) -> str:
        place = f"{self.name}@{self.revision}" if self.revision else self.name
        kind = "datasets/" if self.kind == "dataset" else ""
        return f"{SCHEME}{kind}{place}" + (f"/{self.path}" if self.path else "")


def is_shared(text: str) -> bool:
    """Return whether a text names a place on the hub.

    Parameters
    ----------
    text
        A path or an address.
    """
    return text.startswith(SCHEME)


def parse(text: str) -> Address:
    """Return the place that an address names.

    Parameters
    ----------
    text
        ``hf://USER/NAME``, ``hf://datasets/USER/NAME``, each with ``@REVISION`` and ``/PATH``.

    Raises
    ------
    HubError
        If it is none.

    Examples
    --------
    >>> parse("hf://me/networks@v1/model-gpt2")
    Address(name='me/networks', kind='model', revision='v1', path='model-gpt2')
    """
    found = _SYNTAX.fullmatch(text)
    if found is None:
        raise HubError(
            f"{text!r} is no place on the hub; write hf://USER/NAME or hf://datasets/USER/NAME, "
            "with @REVISION and /PATH where they are needed"
        )
    kind = "dataset" if found["datasets"] else "model"
    return Address(found["name"], kind, found["revision"], (found["path"] or "").strip("/"))


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what a run is on the hub: place in the repository -> content.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RunError
        If it is no run, or has no selection.
    """
    run = SavedRun(RunFolder(folder))
    facts = facts_of(run)
    model = _label(facts["model"].rpartition(":")[2].rpartition("/")[2])
    name = f"model-{model}_contrast-{_label(facts['contrast'])}_desc-{facts['key'][:8]}"
    units = run.folder.checked("select", run.folder.units).read_text(encoding="utf-8")
    files = {
        "mask.safetensors": FORMATS["safetensors"](run.mask, facts),
        "mask.json": _json(facts),
        "units.tsv": _tsv(units),
    }
    if run.verdict is not None:
        files["verdict.json"] = _json(run.verdict.to_json())
    return {f"model-{model}/{name}_{kind}": content for kind, content in files.items()}


def push(folder: Path, address: Address, *, private: bool = False) -> str:
    """Put a run's mask into a repository of the hub; return its address there.

    The repository is made if it does not exist. What else is in it stays: a run of another model,
    contrast or selection has another name.

    Parameters
    ----------
    folder
        The run folder.
    address
        The repository; its ``path`` is a folder in it.
    private
        Whether a new repository is private.

    Raises
    ------
    RunError
        If the folder is no run, or has no selection.
    HubError
        If the hub refuses or does not answer.
    """
    files = files_of(folder)
    hub: Any = import_module("huggingface_hub")
    start = f"{address.path}/" if address.path else ""
    with _errors(address):
        api = hub.HfApi()
        where = {"repo_id": address.name, "repo_type": address.kind}
        api.create_repo(**where, private=private, exist_ok=True)
        known = set(api.list_repo_files(**where, revision=address.revision))
        new = {start + name: content for name, content in files.items()}
        about = {name: text for name, text in _about(address).items() if name not in known}
        operations = [
            hub.CommitOperationAdd(name, content) for name, content in {**about, **new}.items()
        ]
        (mask,) = (name for name in new if name.endswith(_MASK))
        api.create_commit(
            **where,
            operations=operations,
            commit_message=f"Add {Path(mask).name.removesuffix(_MASK)}",
            revision=address.revision,
        )
    return str(Address(address.name, address.kind, address.revision, mask))


def fetch(text: str) -> Path:
    """Download a mask from the hub, once; return the file in the cache.

    Parameters
    ----------
    text
        See `parse`. The place must hold exactly one mask.

    Raises
    ------
    HubError
        If there is no such place, it holds none or several, or the hub does not answer.
    """
    address = parse(text)
    hub: Any = import_module("huggingface_hub")
    where = {"repo_id": address.name, "repo_type": address.kind, "revision": address.revision}
    with _errors(address):
        names = hub.HfApi().list_repo_files(**where)
        return Path(hub.hf_hub_download(filename=_only_mask(address, names), **where))


def _only_mask(address: Address, names: list[str]) -> str:
    start = f"{address.path}/" if address.path else ""
    masks = [name for name in names if name.endswith(_MASK)]
    within = [n for n in masks if n == address.path or n.startswith(start)]
    if address.path in names and not within:
        return address.path  # a mask of another tool
    if len(within) == 1:
        return within[0]
    listed = ", ".join(f"{Address(address.name, address.kind, address.revision, n)}" for n in masks)
    raise HubError(
        f"{address} holds {len(within) or 'no'} masks; name one: {listed}"
        if masks
        else f"{address} holds no mask, a file *{_MASK}; `deeploc push` puts one there"
    )


def _about(address: Address) -> Mapping[str, bytes]:
    """Return what a repository of networks says of itself."""
    name = address.name.rpartition("/")[2]
    made = {"Name": "deeploc", "Version": version("deeploc")}
    bids = {"Name": name, "BIDSVersion": _BIDS, "DatasetType": "derivative", "GeneratedBy": [made]}
    card = f"""---
tags: [deeploc, functional-localizer]
---
# {name}

Units of neural networks that respond to a contrast, found with deeploc. A `*_mask.safetensors`
has an array of 0 and 1 for each site: `PATH` is the output of a module, `PATH:input` what enters
it. The `.json` beside it says of which weights they are, how they were selected, and what the
tests said of them.

```console
deeploc import {address}
```
"""
    return {"dataset_description.json": _json(bids), "README.md": card.encode()}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _tsv(table: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(csv.reader(io.StringIO(table)))
    return text.getvalue().encode()


def _label(text: str) -> str:
    """Return a text as the value of a BIDS entity, which is letters and digits only."""
    return re.sub("[^0-9A-Za-z]", "", text) or "unnamed"


@contextmanager
def _errors(address: Address) -> Iterator[None]:
    """Turn what the hub answers into errors of one line."""
    errors: Any = import_module("huggingface_hub.errors")
    logging: Any = import_module("huggingface_hub.utils.logging")
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # each of its retries is a line
    try:
        yield
    except errors.RevisionNotFoundError:
        raise HubError(f"{address}: the hub has no such revision") from None
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"{address}: there is no such repository, or it is private; check the spelling, or log "
            "in with `hf auth login`"
        ) from None
    except errors.EntryNotFoundError:
        raise HubError(f"{address}: there is no such file") from None
    except (errors.HfHubHTTPError, errors.HTTPError, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = " ".join(str(error).split())[:200]
        if status is None and isinstance(error, (errors.HTTPError, ConnectionError)):
            raise HubError(
                f"{address}: the hub cannot be reached: {reason}; check the network and "
                "HF_ENDPOINT, `deeploc doctor` asks the hub"
            ) from error
        remedy = "; log in with `hf auth login`" if status in (401, 403) else ""
        raise HubError(f"{address}: the hub does not do it: {reason}{remedy}") from error
    finally:
        logging.set_verbosity(level)
