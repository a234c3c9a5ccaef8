"""For tests: adapters with known activations, planted truth, and a check of any adapter."""

from deeploc.testing.check import check_adapter
from deeploc.testing.toy import ToyAdapter

__all__ = ["ToyAdapter", "check_adapter"]
