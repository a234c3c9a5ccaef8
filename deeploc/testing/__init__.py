"""For tests: adapters with known activations, planted truth, and a check of any adapter."""

from deeploc.testing.check import check_adapter
from deeploc.testing.planted import Planted, planted
from deeploc.testing.toy import ToyAdapter

__all__ = ["Planted", "ToyAdapter", "check_adapter", "planted"]
