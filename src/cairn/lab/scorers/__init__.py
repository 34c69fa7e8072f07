"""Scorers: what says how good turns and rollouts are, where a method pays for a reward model, a step PRM or a judge."""

from cairn.lab.scorers.base import Scorer, Site
from cairn.lab.scorers.oracle import Oracle

__all__ = ["Oracle", "Scorer", "Site"]
