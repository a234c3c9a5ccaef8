"""For tests: adapters with known activations, planted truth, and checks of any adapter."""

from deeploc.testing.check import CHECKS, Check, Outcome, check_adapter, run_checks
from deeploc.testing.planted import Planted, planted
from deeploc.testing.toy import ToyAdapter

__all__ = [
    "CHECKS",
    "Check",
    "Outcome",
    "Planted",
    "ToyAdapter",
    "check_adapter",
    "planted",
    "run_checks",
]
