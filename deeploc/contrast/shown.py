"""The ``examples:`` of a contrast file: what the model is given so that one can read its output."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from deeploc.contrast.validation import MAPPING_TAG, TEXT_TAG, Flag, StrictModel, Text, as_list

MOST_PROMPTS = 4
"""Most inputs of which a report shows the output."""


_Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST_PROMPTS)]
_SomeTexts = Annotated[_Texts, BeforeValidator(as_list, json_schema_input_type=Text | _Texts)]


class Prompts(StrictModel):
    """What a language model continues intact, ablated, amplified and under a random control."""

    prompts: _SomeTexts
    """Texts to continue in the place of the beginnings of held-out stimuli."""


def _form(value: Any) -> str:
    return MAPPING_TAG if isinstance(value, Mapping | StrictModel) else TEXT_TAG


Shown = Annotated[
    Annotated[Flag, Tag(TEXT_TAG)] | Annotated[Prompts, Tag(MAPPING_TAG)], Discriminator(_form)
]
