"""The packages that deeploc needs, and those of its extras, without importing any."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version

from deeploc.doctor.problems import Problem

PURPOSE: Mapping[str, str] = {
    "brain": "measured responses in netCDF (brain-alignment)",
    "accelerate": "models larger than one device (--device-map)",
    "gguf": "models in GGUF files",
    "lm-eval": "tasks of lm-evaluation-harness",
    "peft": "models with adapters of PEFT, e.g. LoRA",
    "dev": "the tests and checks of deeploc itself",
}
"""Extra -> what it gives; of others their packages say it."""

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")


@dataclass(frozen=True)
class Package:
    """A package that deeploc asks for.

    Parameters
    ----------
    name
        As the registry spells it.
    version
        The installed version; None: it is not installed.
    needed
        The versions that deeploc works with, e.g. ``>=2.6``; empty: any.
    fits
        Whether the installed version is one of them.
    """

    name: str
    version: str | None
    needed: str
    fits: bool


@dataclass(frozen=True)
class Extra:
    """An optional group of packages.

    Parameters
    ----------
    name
        What stands in the brackets of ``deeploc[NAME]``.
    purpose
        What it gives; empty where nothing is known.
    packages
        What belongs to it.
    """

    name: str
    purpose: str
    packages: tuple[Package, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all of its packages are installed in versions that fit."""
        return all(package.fits for package in self.packages)

    @property
    def install(self) -> str:
        """The line that installs it."""
        return f"pip install 'deeploc[{self.name}]'"


def required() -> tuple[Package, ...]:
    """Return the packages that deeploc cannot do without, in the order of its metadata."""
    return tuple(package for extra, package in _declared() if extra is None)


def extras() -> tuple[Extra, ...]:
    """Return the extras by name, each with its packages."""
    found: dict[str, list[Package]] = {}
    for extra, package in _declared():
        if extra is not None:
            found.setdefault(extra, []).append(package)
    return tuple(Extra(name, PURPOSE.get(name, ""), tuple(found[name])) for name in sorted(found))


def installed_version(name: str) -> str | None:
    """Return the installed version of a package, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def problems(packages: Sequence[Package], optional: Sequence[Extra] = ()) -> Iterator[Problem]:
    """Yield a problem per package that is missing, unfit, or at odds with another one.

    Parameters
    ----------
    packages
        Those that are required.
    optional
        The extras; that one is missing is no problem, a version that does not fit is one.
    """
    chosen = [package for extra in optional for package in extra.packages if package.version]
    for package in dict.fromkeys((*packages, *chosen)):
        if not package.fits:
            yield _unfit(package)
    for package in packages:
        if package.version:
            yield from _conflicts(package.name)


def _unfit(package: Package) -> Problem:
    remedy = f"pip install '{package.name}{package.needed}'"
    if package.version is None:
        return Problem(f"{package.name} is not installed", remedy)
    have = f"{package.name} {package.version} is installed"
    return Problem(f"{have}; deeploc needs {package.needed}", remedy)


def _conflicts(name: str) -> Iterator[Problem]:
    """Yield what a package needs in another version, e.g. torchvision that of another torch."""
    for text in _requires(name):
        match = _REQUIREMENT.fullmatch(text)
        if match is None or match[4]:  # of a platform, a Python or an extra
            continue
        other, needed = match[1], match[3].strip()
        have = installed_version(other)
        if have and not _satisfies(have, needed):
            what = f"{name} {installed_version(name)} needs {other}{needed}, {have} is installed"
            yield Problem(what, f"pip install --upgrade {name} {other}")


@cache
def _requires(name: str) -> tuple[str, ...]:
    try:
        return tuple(requires(name) or ())
    except PackageNotFoundError:
        return ()


def _declared() -> Iterator[tuple[str | None, Package]]:
    """Yield every package of deeploc's metadata with the extra that it belongs to."""
    for text in _requires("deeploc"):
        match = _REQUIREMENT.fullmatch(text)
        if match is None or match[1] == "deeploc":  # an extra that consists of others
            continue
        name, needed, marker = match[1], match[3].strip(), match[4] or ""
        extra = _EXTRA.search(marker)
        have = installed_version(name)
        fits = have is not None and _satisfies(have, needed)
        yield extra[1] if extra else None, Package(name, have, needed, fits)


def _satisfies(have: str, needed: str) -> bool:
    """Return whether a version is one of those needed; yes where it cannot be told."""
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
        from packaging.version import InvalidVersion
    except ImportError:  # it comes with matplotlib, whose absence is reported
        return True
    try:
        return SpecifierSet(needed).contains(have, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True
