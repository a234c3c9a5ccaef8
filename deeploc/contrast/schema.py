"""The JSON Schema of contrast files for editors, made of the fields of `Contrast`."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from deeploc import entry_points
from deeploc.contrast.model import Contrast

ID = "urn:deeploc:contrast:1"


def contrast_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of contrast files of schema 1.

    It holds the plugins that are known when it is made; none is imported. It refuses values of the
    wrong form. The loader checks what depends on several values or on
    files (that the conditions of the comparison exist, that a pattern matches a file, that a task
    has an option). Names of tasks are suggestions.
    """
    schema = Contrast.model_json_schema(by_alias=True)
    schema["properties"]["conditions"]["additionalProperties"] = False  # names have a pattern
    schema["properties"]["evaluate"]["examples"] = [list(entry_points.available("deeploc.tasks"))]
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": ID}
    return {**head, **schema, "title": "deeploc contrast"}
