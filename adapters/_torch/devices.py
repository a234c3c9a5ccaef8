"""Print what torch can compute on, a JSON object a line: what is known is printed at once.

Run as a program, because importing torch, or waking a GPU, may take long, fail or crash.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch


def described() -> Iterator[dict[str, Any]]:
    """Yield first what is told of torch itself, then each device; memory in bytes."""
    yield {
        "torch": torch.__version__,
        "built_for_cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }
    if torch.backends.mps.is_available():
        yield {"device": "mps", "memory": torch.mps.recommended_max_memory()}
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            yield {"device": f"cuda:{index}", "name": found.name, "memory": found.total_memory}


if __name__ == "__main__":
    for part in described():
        sys.stdout.write(json.dumps(part) + "\n")
        sys.stdout.flush()
