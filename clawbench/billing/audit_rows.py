"""Rows of charges that differ, in a file that is made only when there are any."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import msgspec

from clawbench.errors import WriteFailed

FIELDS: Final = (
    "where", "cause", "what", "request_id", "account", "kind", "strategy", "provider", "model", "amount_pico_uat",
    "comes_to_pico_uat", "cost_usd", "provider_reported_cost_usd", "book_id", "row_id", "period_start", "period_end",
    "service_tier", "meter", "invoiced_quantity", "ledger_quantity", "invoiced_usd", "ledger_usd",
)  # fmt: skip
"""Columns of a CSV file: of charges, and from `period_start` on of an invoice's lines."""


class RowFile:
    """JSON lines, or CSV where the name ends so. A context: the file gets its name when the audit has ended well."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._file: IO[bytes] | None = None

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Raises `WriteFailed`."""
        try:
            if self._file is None:
                self._file = self._temporary.open("wb")
                if self._is_csv:
                    self._file.write(_csv(FIELDS))
            cells = [row.get(name) for name in FIELDS] if self._is_csv else None
            self._file.write(msgspec.json.encode(row) + b"\n" if cells is None else _csv(cells))
        except OSError as error:
            raise self._failed(error) from error
        self.rows += 1

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise self._failed(failure) from failure
        finally:
            self._temporary.unlink(missing_ok=True)

    @property
    def _is_csv(self) -> bool:
        return self.path.suffix.casefold() == ".csv"

    def _failed(self, error: OSError) -> WriteFailed:
        return WriteFailed(f"Could not write {self.path}: {error}. Choose another file with --out.")


def _csv(values: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return text.getvalue().encode()
