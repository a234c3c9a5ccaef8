"""The JSON Schema of a contrast file, for editors: what `Contrast` accepts, from its own fields."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from deeploc import entry_points
from deeploc.contrast.model import Contrast

ID = "urn:deeploc:contrast:1"


def contrast_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of contrast files of schema 1.

    It refuses what has the wrong form. What only the loader can know (that the conditions of the
    comparison exist, that a pattern names a file, that a task takes an option) is left to it.
    Names of installed tasks are offered, others allowed: importing plugins is not needed.
    """
    made = Contrast.model_json_schema(by_alias=True)
    made["properties"]["conditions"]["additionalProperties"] = False  # names have a pattern
    made["properties"]["evaluate"]["examples"] = [list(entry_points.available("deeploc.tasks"))]
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": ID}
    return {**head, **made, "title": "deeploc contrast"}
