"""What a story about a false belief or a false picture consists of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["belief", "photograph"]


@dataclass(frozen=True, slots=True)
class Story:
    """Three sentences and a question about what a person believes or a picture shows."""

    text: str
    question: str


@dataclass(frozen=True, slots=True)
class StoryPair:
    """Two stories of one plot: a person, or a picture, map or sign, is out of date.

    ``named`` are the two states in the order in which both stories name them, each once.
    ``recorded`` is the one that was believed or recorded before the other came true: the right
    answer to both questions.
    """

    named: tuple[str, str]
    recorded: str
    belief: Story
    photograph: Story

    @property
    def stories(self) -> Mapping[Kind, Story]:
        """The two stories by kind."""
        return {"belief": self.belief, "photograph": self.photograph}
