"""Scorers: what says how good turns and rollouts are, where a method pays for a reward model, a step PRM or a judge."""

from cairn.lab.scorers.base import Scorer, Site
from cairn.lab.scorers.classifier import Classifier
from cairn.lab.scorers.endpoint import Endpoint
from cairn.lab.scorers.oracle import Oracle
from cairn.lab.scorers.trained import Trained

__all__ = ["Classifier", "Endpoint", "Oracle", "Scorer", "Site", "Trained"]
