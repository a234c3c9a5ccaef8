"""The module inside wrappers that hide it from hooks or copy it to other devices."""

from typing import Any

from torch import nn

from deeploc.errors import AdapterError


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the innermost module of wrappers that compute what it computes.

    Unwrapped are ``torch.compile(module)``, ``DataParallel``, ``DistributedDataParallel`` and
    models of peft (their injected layers stay), in any nesting. Calling a wrapper calls the module
    inside, so that an ablation of the one takes effect in the other.

    Raises
    ------
    AdapterError
        If a peft model adds virtual tokens, which the module inside does not have.
    """
    while (inner := _inner(module)) is not None:
        module = inner
    return module


def _inner(module: Any) -> nn.Module | None:
    """Return the module directly inside a known wrapper, else None."""
    # torch.compile's and peft's by what they offer: a private class, and an absent package
    inner: Any = vars(module).get("_modules", {}).get("_orig_mod")
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    elif inner is None and hasattr(module, "peft_config") and hasattr(module, "get_base_model"):
        if getattr(getattr(module, "active_peft_config", None), "is_prompt_learning", False):
            raise AdapterError(
                f"{type(module).__name__} adds virtual tokens to its input (prompt tuning), which "
                "cannot be read or ablated; give a LoRA or a merged model, or the base model"
            )
        inner = module.get_base_model()
    return inner if isinstance(inner, nn.Module) and inner is not module else None
