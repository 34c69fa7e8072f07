"""The inventory of credit-assignment methods: facts with sources, checked as data. Never imports torch.

`load()` returns the checked collection, `check()` every finding over it, `RULES` what is asked of an entry.
"""

from cairn.inventory.cite import bibtex
from cairn.inventory.collection import CRITERIA, Inventory, load
from cairn.inventory.findings import ERROR, WARNING, Finding, Rule
from cairn.inventory.lint import RULES, Reading, check, read_all
from cairn.inventory.models import Claim, Entry
from cairn.inventory.vocabulary import Vocabularies, Vocabulary

__all__ = [
    "CRITERIA",
    "ERROR",
    "RULES",
    "WARNING",
    "Claim",
    "Entry",
    "Finding",
    "Inventory",
    "Reading",
    "Rule",
    "Vocabularies",
    "Vocabulary",
    "bibtex",
    "check",
    "load",
    "read_all",
]
