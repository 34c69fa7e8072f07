"""Cairn: an inventory and a reproducibility harness for credit assignment in RL of language models."""

__version__ = "0.1.0"
