"""What the methods paragraph cites: every entry is listed once it was cited, and no other."""

import re
from functools import cache
from importlib.resources import files

_ENTRY = re.compile(r"^@\w+\{(\w+),$.*?^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)


class Bibliography:
    """The entries of references.bib that a page cites, in the order of their first citation."""

    def __init__(self) -> None:
        self._cited: dict[str, None] = {}

    def cite(self, key: str) -> str:
        """Return authors and year of an entry, and list it.

        Parameters
        ----------
        key
            Its key in references.bib.

        Examples
        --------
        >>> [Bibliography().cite(key) for key in ("welch1947", "phipson2010", "sun2024")]
        ['Welch 1947', 'Phipson & Smyth 2010', 'Sun et al. 2024']
        """
        self._cited[key] = None
        fields = _fields(key)
        names = [author.partition(",")[0] for author in fields["author"].split(" and ")]
        shown = f"{names[0]} et al." if len(names) > 2 else " & ".join(names)
        return f"{shown} {fields['year']}"

    def cite_known(self, text: str) -> str:
        """Return a text as it is, and list every entry of which it names the DOI or arXiv number.

        Parameters
        ----------
        text
            Any text, e.g. the source of a contrast.
        """
        for key in _entries():
            fields = _fields(key)
            if (fields.get("doi") or fields["eprint"]).lower() in text.lower():
                self._cited[key] = None
        return text

    def bibtex(self) -> str:
        """Return what was cited as BibTeX."""
        return "\n\n".join(_entries()[key] for key in self._cited)


@cache
def _entries() -> dict[str, str]:
    text = (files("deeploc.report") / "references.bib").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in _ENTRY.finditer(text)}


@cache
def _fields(key: str) -> dict[str, str]:
    return dict(_FIELD.findall(_entries()[key]))
