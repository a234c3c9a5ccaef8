"""Write docs/reference/cli.md, contrast-file.md and sweep-file.md from the code.

    python scripts/reference_pages.py

tests/test_site.py fails where the pages are not what this would write.
"""

import json
import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from deeploc.cli import main as deeploc
from deeploc.contrast.schema import contrast_schema
from deeploc.sweep.file import sweep_schema

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- made by scripts/reference_pages.py; change the code, not this page -->\n"
HIDDEN = ("help",)


def cell(text: str) -> str:
    """Return a text that fits a cell of a table; literals become those of Markdown."""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """Return a docstring as paragraphs, without the marks that click takes from it."""
    return re.sub(r"``(.+?)``", r"`\1`", cleandoc(text).replace("\b\n", ""))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def cli_page() -> str:
    """Return the page of every command with its arguments and options."""
    context = deeploc.make_context("deeploc", [], resilient_parsing=True)
    lines = ["# The command line", "", MADE, "Every option can also be given as an environment"]
    lines += ["variable, `DEEPLOC_COMMAND_OPTION`, e.g. `DEEPLOC_RUN_DEVICE=cuda`.", ""]
    for name in deeploc.list_commands(context):
        command = deeploc.get_command(context, name)
        assert command is not None
        lines += command_section(command, click.Context(command, context, info_name=name))
    return "\n".join(lines)


def command_section(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the lines about one command."""
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## deeploc {context.info_name}", "", "```text")
    yield from (f"{context.command_path} {usage}", "```", "", plain(command.help or ""), "")
    options = [param for param in command.params if isinstance(param, click.Option)]
    rows = [option_row(o, context) for o in options if o.name not in HIDDEN and not o.hidden]
    if rows:
        yield from table(("option", "value", "meaning"), rows)


def option_row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    """Return name, value and meaning of an option."""
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    form = option.make_metavar(context).removesuffix(" RANGE")
    value = "" if option.is_flag else f"`{cell(form)}`"
    value += ", repeatable" if option.multiple else ""
    extra = option.get_help_extra(context)
    value += f" ({extra['range']})" if "range" in extra else ""
    default = f" Default: `{extra['default']}`." if "default" in extra else ""
    return names, value, cell(option.help or "") + default


def contrast_page() -> str:
    """Return the page of every key of a contrast file."""
    schema = contrast_schema()
    lines = ["# The contrast file", "", MADE]
    lines += ["A contrast is one YAML file; [Contrasts](../contrasts.md) shows whole ones.", ""]
    lines += ["`deeploc schema` prints the JSON Schema of this page, for editors.", ""]
    return "\n".join([*lines, *sections(schema)])


def sweep_page() -> str:
    """Return the page of every key of a sweep file."""
    lines = ["# The sweep file", "", MADE]
    lines += ["A sweep is one YAML file; [Sweeps](../sweep.md) shows whole ones.", ""]
    return "\n".join([*lines, *sections(sweep_schema())])


def sections(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about a file, and about every mapping in it."""
    yield from section("The file", schema)
    for name, definition in schema["$defs"].items():
        if "properties" in definition or "oneOf" in definition or "anyOf" in definition:
            yield from section(name, definition)


def section(title: str, definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one mapping of the file."""
    yield from (f"## {title}", "", plain(definition.get("description", "")), "")
    required = definition.get("required", ())
    rows = [
        (f"`{key}`" + (" (required)" if key in required else ""), form(value), meaning(value))
        for key, value in definition.get("properties", {}).items()
    ]
    if rows:
        yield from table(("key", "value", "meaning"), rows)


def meaning(value: Mapping[str, Any]) -> str:
    """Return what a key means, and its default."""
    text = cell(value.get("description", ""))
    if "default" in value and "$ref" not in value:
        text += f" Default: `{cell(json.dumps(value['default'], ensure_ascii=False))}`."
    return text


def form(value: Any) -> str:
    """Return the form of a value in words."""
    if value is True or not value:
        return "anything"
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return "anything" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "const" in value or "enum" in value:
        return " or ".join(f"`{item}`" for item in value.get("enum", [value.get("const")]))
    for several in ("anyOf", "oneOf"):
        if several in value:
            return " or ".join(dict.fromkeys(map(form, value[several])))
    return of_type(value)


def of_type(value: Mapping[str, Any]) -> str:
    """Return the form of a value that has one JSON type."""
    kind = value.get("type", "anything")
    if kind == "array":
        inside = form(value.get("items", {}))
        return f"list of ({inside})" if " or " in inside else f"list of {inside}"
    if kind == "object":
        inner = value.get("patternProperties") or {"": value.get("additionalProperties")}
        forms = [form(item) for item in inner.values() if isinstance(item, Mapping)]
        return f"mapping of names to {forms[0]}" if forms else "mapping"
    if isinstance(kind, list):
        return " or ".join(kind)
    words = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`"}
    return words.get(kind, kind) + bounds(value)


def bounds(value: Mapping[str, Any]) -> str:
    """Return the range of a number in words."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {value[key]:,}" for key, sign in signs.items() if key in value]
    return f" ({', '.join(said)})" if said else ""


PAGES = {"cli.md": cli_page, "contrast-file.md": contrast_page, "sweep-file.md": sweep_page}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
