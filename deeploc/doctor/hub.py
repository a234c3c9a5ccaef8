"""Whether the Hugging Face hub answers."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from deeploc.cache import OFFLINE, offline
from deeploc.doctor.problems import Problem

State = Literal["answers", "offline", "not asked", "unreachable"]


@dataclass(frozen=True)
class Hub:
    """What is known of the hub.

    Parameters
    ----------
    address
        Where it is: ``HF_ENDPOINT``, or huggingface.co.
    state
        ``answers``; ``offline``: a variable forbids connections; ``not asked``; ``unreachable``.
    seconds
        How long the answer took; None where there was none.
    reason
        Why it is unreachable.
    """

    address: str
    state: State
    seconds: float | None = None
    reason: str = ""


def ask_hub(timeout: float, *, skip: bool = False) -> Hub:
    """Ask the hub for one model's name, unless connections are forbidden.

    Parameters
    ----------
    timeout
        Seconds to wait for it.
    skip
        Whether it is not asked.
    """
    address = address_of_hub()
    if skip:
        return Hub(address, "not asked")
    if offline():
        return Hub(address, "offline")
    started = time.monotonic()
    try:
        request = Request(f"{address}/api/models?limit=1", headers={"User-Agent": "deeploc"})
        with urlopen(request, timeout=timeout):
            pass
    except HTTPError as error:
        if error.code >= 500:
            return Hub(address, "unreachable", reason=f"it answers with status {error.code}")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no address at all
        return Hub(address, "unreachable", reason=_told(error))
    return Hub(address, "answers", time.monotonic() - started)


def address_of_hub() -> str:
    """Return the address of the hub, without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def problems(hub: Hub) -> Iterator[Problem]:
    """Yield a problem if the hub does not answer.

    It is a warning: what is shipped, on this machine or in the cache can be used without.

    Parameters
    ----------
    hub
        What is known of it.
    """
    if hub.state == "unreachable":
        yield Problem(
            f"{hub.address} does not answer: {hub.reason}",
            f"check the network, HF_ENDPOINT and the proxy; {OFFLINE[1]}=1 uses only what is "
            "in the cache, without waiting",
            broken=False,
        )


def _told(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()) or type(error).__name__
