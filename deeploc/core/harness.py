"""What lm-evaluation-harness asks a language model, and who is allowed to run the code of tasks."""

from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

Question = Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]
"""What the harness calls a ``request_type``."""


@runtime_checkable
class AnswersHarness(Protocol):
    """Ability of language models: answer as the harness's own model of transformers does."""

    def harness_answers(self, question: Question, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answer to every request, in order, from the model as it is now.

        Parameters
        ----------
        question
            What is asked, the same of all requests.
        requests
            The arguments of each: (context, continuation), (text,), or (context, options).

        Returns
        -------
        list
            ``loglikelihood``: the log-probability (nats) of the continuation, and whether it is
            what greedy decoding would write; ``loglikelihood_rolling``: the log-probability (nats)
            of the text; ``generate_until``: the new text.

        Raises
        ------
        AdapterError
            If a request does not fit the model.
        """
        ...


_trusted: ContextVar[tuple[Path, ...]] = ContextVar("trusted", default=())


def trust(folder: Path) -> None:
    """Allow the task files of a folder to run Python code, from now on.

    Only a user does so, by naming the folder on the command line: a contrast file never runs code.

    Parameters
    ----------
    folder
        The folder.
    """
    _trusted.set((*_trusted.get(), folder.resolve()))


def is_trusted(file: Path) -> bool:
    """Return whether a file lies in a folder that the user named.

    Parameters
    ----------
    file
        Any file.
    """
    return any(file.resolve().is_relative_to(folder) for folder in _trusted.get())
