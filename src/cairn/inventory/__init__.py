"""The inventory of credit-assignment methods: facts with sources, checked as data. Never imports torch.

`load()` returns the checked collection, `check()` every finding over it, `RULES` what is asked of an entry. What
follows from evidence (status, verdicts) comes with `cairn.evidence.catalogue.load()`.
"""

from cairn.inventory.cite import bibtex, csl
from cairn.inventory.collection import Inventory, load
from cairn.inventory.criteria import CRITERIA, Facet
from cairn.inventory.findings import ERROR, WARNING, Finding, Rule
from cairn.inventory.grid import Cell, Grid
from cairn.inventory.lint import RULES, Reading, check, read_all
from cairn.inventory.models import Claim, Entry
from cairn.inventory.vocabulary import Vocabularies, Vocabulary

__all__ = [
    "CRITERIA",
    "ERROR",
    "RULES",
    "WARNING",
    "Cell",
    "Claim",
    "Entry",
    "Facet",
    "Finding",
    "Grid",
    "Inventory",
    "Reading",
    "Rule",
    "Vocabularies",
    "Vocabulary",
    "bibtex",
    "check",
    "csl",
    "load",
    "read_all",
]
