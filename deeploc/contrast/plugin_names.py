"""What a contrast file may name beside deeploc's own: the statistics and controls of plugins."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from deeploc import entry_points
from deeploc.contrast.validation import PLUGIN_NAME, errors_at, is_recorded, unknown_keys

STATISTICS = ("welch", "paired", "mann-whitney", "d-prime", "selectivity-index")
"""The statistics that deeploc has of its own."""


def _check_statistic(name: str, info: ValidationInfo) -> str:
    if name in STATISTICS or is_recorded(info):
        return name
    plugins = entry_points.available("deeploc.statistics")
    if name not in plugins:
        known = [*STATISTICS, *plugins]
        raise PydanticCustomError(
            "literal_error",
            "{expected}",
            {"expected": ", ".join(map(repr, known))},
        )
    return name


Statistic = Annotated[
    str,
    AfterValidator(_check_statistic),
    WithJsonSchema({"anyOf": [{"enum": list(STATISTICS)}, PLUGIN_NAME]}),
]
"""What units are ranked by: one of `STATISTICS`, or a plugin."""


def check_controls(
    wanted: Mapping[str, Any], own: Sequence[str], most: int, info: ValidationInfo
) -> None:
    """Refuse a control that is neither deeploc's own nor a plugin, and what is no number of masks.

    Parameters
    ----------
    wanted
        Control -> what the contrast file says, of those that are not deeploc's own.
    own
        The names of deeploc's own.
    most
        Most masks of one control.
    info
        What pydantic hands to a validator.

    Raises
    ------
    ValidationError
        Naming the control.
    """
    if not is_recorded(info):
        known = entry_points.available("deeploc.controls")
        if unknown := [name for name in wanted if name not in known]:
            raise unknown_keys(unknown, [*own, *known])
    for name, value in wanted.items():
        if type(value) not in (bool, int) or not 0 <= value <= most:
            raise errors_at(
                [
                    (
                        (name,),
                        f"{value!r} is no number of masks; write a whole number up to {most:,}, or "
                        "true for one",
                    )
                ]
            )


def controls_schema(most: int) -> dict[str, Any]:
    """Return the JSON Schema of controls that are plugins.

    Parameters
    ----------
    most
        Most masks of one control.
    """
    count = {"type": "integer", "minimum": 0, "maximum": most}
    of_plugin = {"anyOf": [{"type": "boolean"}, count]}
    names = {PLUGIN_NAME["pattern"]: of_plugin}
    return {"additionalProperties": False, "patternProperties": names}
