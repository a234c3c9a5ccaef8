"""What a contrast file may name beside deeploc's own: the statistics and controls of plugins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from deeploc import entry_points
from deeploc.contrast.validation import errors_at, is_recorded, unknown_keys
from deeploc.entry_points import Group
from deeploc.errors import nearest


@dataclass(frozen=True)
class NamedSchema:
    """The JSON Schema of a name: those of deeploc, and of the plugins known when it is made.

    Parameters
    ----------
    own
        The names that deeploc has of its own.
    group
        The group of plugins.
    """

    own: Sequence[str]
    group: Group

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> Any:
        """Return the names, without importing a plugin."""
        return {"enum": list(dict.fromkeys([*self.own, *entry_points.available(self.group)]))}


STATISTICS = ("welch", "paired", "mann-whitney", "d-prime", "selectivity-index")
"""The statistics that deeploc has of its own."""


def _check_statistic(name: str, info: Any) -> str:
    if name in STATISTICS or is_recorded(info):
        return name
    plugins = entry_points.available("deeploc.statistics")
    if name not in plugins:
        known = [*STATISTICS, *plugins]
        expected = f"{nearest(name, known)}it must be one of {', '.join(known)}"
        message = f"{expected}; {entry_points.OF_A_FILE}"
        raise PydanticCustomError("unknown_name", "{message}", {"message": message})
    return name


Statistic = Annotated[
    str,
    AfterValidator(_check_statistic),
    NamedSchema(STATISTICS, "deeploc.statistics"),
]
"""What units are ranked by: one of `STATISTICS`, or a plugin."""


def check_controls(wanted: Mapping[str, Any], own: Sequence[str], most: int, info: Any) -> None:
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
            raise unknown_keys(unknown, [*own, *known], more=f"; {entry_points.OF_A_FILE}")
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


def controls_schema(most: int) -> Callable[[dict[str, Any]], None]:
    """Return what adds the controls of plugins to the JSON Schema of deeploc's own.

    Parameters
    ----------
    most
        Most masks of one control.
    """
    count = {"type": "integer", "minimum": 0, "maximum": most}
    of_plugin = {"anyOf": [{"type": "boolean"}, count]}

    def add(schema: dict[str, Any]) -> None:
        schema["additionalProperties"] = False
        for name in entry_points.available("deeploc.controls"):
            schema["properties"].setdefault(name, of_plugin)

    return add
