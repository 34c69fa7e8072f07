from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cairn.errors import UserError


@contextmanager
def _block() -> Iterator[None]:
    yield


def test_a_user_error_passes_through_a_with_block() -> None:
    with pytest.raises(UserError, match="wrong"), _block():
        raise UserError("wrong", value=["unhashable"])
