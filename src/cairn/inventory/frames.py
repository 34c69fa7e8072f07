"""The flat tables for pandas, Parquet and Hugging Face `datasets`, which the extra `export` brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cairn.errors import UserError
from cairn.inventory import tables
from cairn.inventory.collection import Inventory

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa


def to_pandas(inventory: Inventory, table: str) -> pd.DataFrame:
    """Return a table as a data frame; lists stay lists, a missing value is missing. Raises UserError without pandas."""
    with _extra():
        import pandas as pd
    found = tables.table(table)
    names = [column.name for column in found.columns(inventory)]
    return pd.DataFrame(list(found.rows(inventory)), columns=names)


def to_dataset(inventory: Inventory, table: str) -> datasets.Dataset:
    """Return a table as a `datasets.Dataset`. Raises UserError without the extra `export`."""
    with _extra():
        import datasets
    return datasets.Dataset(datasets.table.InMemoryTable(to_arrow(inventory, table)))


def to_arrow(inventory: Inventory, table: str) -> pa.Table:
    """Return a table for Arrow, with the type of every column stated. Raises UserError without pyarrow."""
    with _extra():
        import pyarrow as pa
    found = tables.table(table)
    return pa.Table.from_pylist(list(found.rows(inventory)), schema=_schema(found, inventory))


def parquet(inventory: Inventory, table: str, made_by: str) -> bytes:
    """Return a table as a Parquet file; `made_by` goes into its metadata. Raises UserError without pyarrow."""
    arrow = to_arrow(inventory, table).replace_schema_metadata({"made_by": made_by})
    with _extra():
        import pyarrow as pa
        from pyarrow import parquet as writer
    sink = pa.BufferOutputStream()
    writer.write_table(arrow, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _schema(table: tables.Table, inventory: Inventory) -> pa.Schema:
    with _extra():
        import pyarrow as pa
    types: dict[tables.Kind, Any] = {
        "text": pa.string(),
        "list": pa.list_(pa.string()),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
    }
    return pa.schema([(column.name, types[column.kind]) for column in table.columns(inventory)])


@contextmanager
def _extra() -> Iterator[None]:
    """Turn the failure of an import into what to install. Raises UserError."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"this needs {error.name or 'a package'}, which the base install leaves out",
            repair="python -m pip install 'cairn-credit[export]'",
        ) from error
