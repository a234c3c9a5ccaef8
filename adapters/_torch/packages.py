"""Packages that are needed for some checkpoints only."""

from importlib import import_module
from typing import Any

from deeploc.errors import AdapterError


def optional_package(package: str, purpose: str, extra: str = "") -> Any:
    """Return an imported package that deeploc does not need otherwise.

    Parameters
    ----------
    package
        Its name.
    purpose
        What needs it, for the message.
    extra
        The extra of deeploc that installs it; default: called like the package.

    Raises
    ------
    AdapterError
        If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise AdapterError(
            f"{purpose} needs the package {package}, which cannot be imported; "
            f"`pip install 'deeploc[{extra or package}]'`"
        ) from error
