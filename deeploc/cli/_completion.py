"""What a shell completes: contrasts, models, kinds of site, run folders; nothing heavy is imported.

``eval "$(_DEEPLOC_COMPLETE=bash_source deeploc)"`` installs it (click's own mechanism; zsh and fish
likewise).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

_MOST_FOLDERS = 1000
"""Folders that are looked into for runs: completion must answer at once."""

Items = list[CompletionItem]


class _Bash(BashComplete):
    """Bash breaks words at ``:``, and completes what follows it: addresses are put together."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the complete words of the line, and the one to complete."""
        words = _words(os.environ["COMP_WORDS"])
        count = int(os.environ["COMP_CWORD"])
        joined: list[str] = []
        is_open = False
        for word in words[1 : count + 1]:
            if joined and (word == ":" or is_open):
                joined[-1] += word
            else:
                joined.append(word)
            is_open = word == ":"
        if len(words) <= count:
            joined.append("")
        self._kept = joined[-1].rpartition(":")[0] if ":" in words[1:] else ""
        return joined[:-1], joined[-1]

    def format_completion(self, item: "CompletionItem") -> str:
        """Return what bash puts in place of the last word, which begins after the colon."""
        start = f"{self._kept}:"
        if self._kept and item.value.startswith(start):
            return f"{item.type},{item.value.removeprefix(start)}"
        return super().format_completion(item)


def _words(line: str) -> list[str]:
    from click.shell_completion import split_arg_string

    return split_arg_string(line)


add_completion_class(_Bash)


def contrasts(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Complete a shipped contrast, or the path of a file."""
    from deeploc.contrast.shipped import available

    names = [name for name in available() if name.startswith(incomplete)]
    if not names:
        return [CompletionItem(incomplete, type="file")]
    files = Path().glob(f"{incomplete}*.yaml") if "/" not in incomplete else ()
    return [CompletionItem(name) for name in (*names, *sorted(map(str, files)))]


def sweeps(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Complete a shipped sweep, or the path of a file."""
    from importlib.resources import files

    names = sorted(
        file.name.removesuffix(".yaml")
        for file in files("deeploc.sweeps").iterdir()
        if file.name.endswith(".yaml") and file.name.startswith(incomplete)
    )
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def models(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Complete an address: the adapters, the shipped models, and those in the hub's cache."""
    addresses = dict.fromkeys(_addresses())
    return [CompletionItem(address) for address in addresses if address.startswith(incomplete)]


def kinds(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Complete a kind of site."""
    from deeploc.core.site import KINDS

    return [CompletionItem(kind) for kind in KINDS if kind.startswith(incomplete)]


def runs(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Complete a run folder: one here, or in a folder here; else any folder."""
    found = sorted(_runs(incomplete))
    return [CompletionItem(run) for run in found] or [CompletionItem(incomplete, type="dir")]


def _addresses() -> Iterator[str]:
    from importlib.resources import files

    from deeploc.entry_points import available

    shipped = files("deeploc").joinpath("reference")
    yield from sorted(f"reference:{folder.name}" for folder in shipped.iterdir())
    yield from (f"hf:{name}" for name in _cached_models())
    yield from (f"{name}:" for name in available("deeploc.adapters") if name != "reference")


def _cached_models() -> list[str]:
    """Return the names of the models in the hub's cache, ``models--OWNER--NAME``."""
    from deeploc.cache import hub_cache

    try:
        folders = list(hub_cache().glob("models--*"))
    except OSError:
        return []
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)


def _runs(incomplete: str) -> Iterator[str]:
    parent, _, start = incomplete.rpartition("/")
    base = Path(f"{parent}/") if parent or incomplete.startswith("/") else Path()
    for folder in _folders(base, start):
        if _is_run(folder):
            yield str(folder)
        else:
            yield from (str(inner) for inner in _folders(folder, "") if _is_run(inner))


def _folders(base: Path, start: str) -> list[Path]:
    try:
        with os.scandir(base) as entries:
            names = [e.name for e in entries if e.name.startswith(start) and e.is_dir()]
    except OSError:
        return []
    hidden = start.startswith(".")
    shown = [name for name in sorted(names) if hidden or not name.startswith(".")]
    return [base / name for name in shown[:_MOST_FOLDERS]]


def _is_run(folder: Path) -> bool:
    return (folder / "manifest.json").exists()
