"""What a mask says of itself when it leaves its run."""

from pathlib import Path
from typing import Any

from deeploc.runs.saved_run import SavedRun


def facts_of(run: SavedRun) -> dict[str, Any]:
    """Return model, contrast, selection and answers of a run, as JSON.

    Of a model in a folder only the name of the folder is told, and of the stimuli only their
    hashes.

    Parameters
    ----------
    run
        The run.
    """
    manifest = run.manifest
    contrast, model = manifest["contrast"], manifest["model"]
    recorded = manifest.get("options") or {}
    options = {key: recorded.get(key) for key in ("revision", "untrained", "seed", "limit")}
    return {
        "model": without_folder(manifest["address"]),
        "weights": model.get("weights"),
        "architecture": model.get("architecture"),
        "dtype": model.get("dtype"),
        **options,
        "contrast": contrast["name"],
        "title": contrast.get("title"),
        "comparison": contrast.get("contrast"),
        "source": contrast.get("source"),
        "statistic": contrast.get("statistic"),
        "read": contrast.get("read"),
        "split": contrast.get("split"),
        "select": contrast.get("select"),
        "units": {k: int(run.mask.layout.of_kind(k).sum()) for k in run.mask.layout.kinds},
        "selected": {kind: len(run.mask.of_kind(kind)) for kind in run.mask.layout.kinds},
        "answers": _answers(run),
        "stimuli": {
            name: record.get("sha256") for name, record in manifest.get("stimuli", {}).items()
        },
        "key": manifest["select"]["key"],
        "deeploc": manifest["deeploc"],
        "versions": manifest.get("versions"),
    }


def without_folder(address: str) -> str:
    """Return a model's address, of a path on this machine its last part only.

    Parameters
    ----------
    address
        ``ADAPTER:NAME``.
    """
    adapter, colon, name = address.partition(":")
    is_path = name.startswith((".", "/", "~")) or Path(name).exists()
    return f"{adapter}{colon}{Path(name).name}" if is_path else address


def _answers(run: SavedRun) -> dict[str, dict[str, str]]:
    """Return the answers of the verdict by kind of site; empty where there is none."""
    networks = run.verdict.networks if run.verdict else ()
    return {n.sites: {reply.question: reply.answer for reply in n.replies} for n in networks}
