"""The HTML pages: their templates, which share their style and their tables."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from deeploc.core.modes import protocol
from deeploc.report.lesion_matrix import z_text
from deeploc.report.text import format_number, mask_label


def template(name: str) -> Template:
    """Return a template of this package.

    Parameters
    ----------
    name
        The file beside this module.
    """
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, lstrip_blocks=True
    )
    environment.filters.update(
        num=format_number, plain=_plain, mask=mask_label, z=z_text, protocol=protocol
    )
    script = _read("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(script=Markup(script), script_hash=f"sha256-{digest}")
    return environment


def _read(name: str) -> str:
    return (files("deeploc.report") / name).read_text(encoding="utf-8")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
