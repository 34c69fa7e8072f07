"""The card of an exported data set: what it is, where its facts come from, what each column holds."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from cairn.inventory.collection import Inventory
from cairn.inventory.tables import TABLES, Column, Table

NAME = "README.md"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def data_path(table: str) -> str:
    """Return where the Parquet file of a table lies in the folder."""
    return f"data/{table}.parquet"


def text(inventory: Inventory, made_by: str, licence: str) -> str:
    """Return the card as Markdown, with the YAML head by which `datasets` finds the tables."""
    head = yaml.safe_dump(_head(inventory, licence), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{head}---\n<!-- {made_by} -->", "# Cairn: credit assignment for language models", _about(inventory)]
    parts += [_table(table, table.columns(inventory)) for table in TABLES.values()]
    return "\n\n".join([*parts, _rights(licence)]) + "\n"


def _head(inventory: Inventory, licence: str) -> dict[str, object]:
    size = next((word for limit, word in _SIZES if len(inventory) < limit), "n>100K")
    configs = [
        {"config_name": name, "data_files": [{"split": "train", "path": data_path(name)}]}
        | ({"default": True} if name == "entries" else {})
        for name in TABLES
    ]
    return {
        "pretty_name": "Cairn: credit assignment for language models",
        "license": licence.lower(),
        "language": ["en"],
        "tags": ["credit-assignment", "reinforcement-learning", "language-models", "survey"],
        "size_categories": [size],
        "configs": configs,
    }


def _about(inventory: Inventory) -> str:
    kinds = ", ".join(f"{count} of kind {kind}" for kind, count in inventory.counts("kind").items())
    return (
        "What papers say about how they assign credit in reinforcement learning for language models: each method's "
        "rule, labels, needs, claims and reported details, in the inventory's own words, each block with the sources "
        f"that were read.\n\nEntries: {len(inventory)}" + (f" ({kinds})." if kinds else ".") + "\n\n"
        "Labels are those of the inventory; columns that begin with `survey_` are the survey's, transcribed. `unknown` "
        "means that it was looked for and not established. There is one split, `train`; it is a listing, not something "
        "to train on. Small models on synthetic tasks stand behind the column `verdict`, where there is one: they test "
        "the mechanism and do not reproduce a paper's benchmark numbers."
    )


def _table(table: Table, columns: Sequence[Column]) -> str:
    rows = "\n".join(f"| `{column.name}` | {column.kind} | {column.about} |" for column in columns)
    about = table.about[0].upper() + table.about[1:]
    return f"## {table.name}\n\n{about}.\n\n| column | kind | holds |\n| --- | --- | --- |\n{rows}"


def _rights(licence: str) -> str:
    return (
        f"## Licence\n\n{licence}, for the facts and their wording. The papers belong to their authors; to cite a "
        "method, cite its paper (`cairn cite ID`)."
    )
