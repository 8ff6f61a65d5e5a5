"""The run folder on disk: where a run keeps its cells, its manifest and its report.

    <out>/<plan name>-<first 12 of run id>[-2, -3, …]/
        manifest.json
        cells/<cell id>/{requests,attempts,decisions,ledger}-00000.parquet …, done.json
        price-books/<hash>.json
        report.html

A cell is written in a hidden folder and gets its name when it is finished, so what stands under its name is whole.
An existing run is never overwritten: a further run of the same plan gets the next number.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from clawbench.analysis.frames import RunFolder
from clawbench.analysis.report import write_report
from clawbench.errors import UsageError, WriteFailed

RUN_ID_CHARACTERS = 12


class RunWriter:
    """The writing side of one run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def fresh(cls, out: Path, name: str, run_id: str) -> RunWriter:
        """A new folder for this run. Raises `WriteFailed`."""
        stem = f"{name}-{run_id[:RUN_ID_CHARACTERS]}"
        number = 1
        while True:
            path = out / (stem if number == 1 else f"{stem}-{number}")
            try:
                (path / "cells").mkdir(parents=True, exist_ok=False)
            except FileExistsError:
                number += 1
                continue
            except OSError as error:
                raise WriteFailed(
                    f"Could not make the run folder {path}: {error}. Choose another with --out."
                ) from error
            return cls(path)

    @classmethod
    def resumed(cls, out: Path, name: str, run_id: str) -> RunWriter:
        """The latest folder of this run; a new one if there is none."""
        stem = f"{name}-{run_id[:RUN_ID_CHARACTERS]}"
        numbered = [path for path in out.glob(f"{stem}*") if path.name == stem or path.name[len(stem) + 1 :].isdigit()]
        if not numbered:
            return cls.fresh(out, name, run_id)
        latest = max(numbered, key=lambda path: int(path.name[len(stem) + 1 :] or 1))
        writer = cls(latest)
        if writer.manifest().get("run_id", run_id) != run_id:
            raise UsageError(f"{latest} belongs to another run; remove it, or choose another folder with --out")
        (latest / "cells").mkdir(exist_ok=True)
        return writer

    def manifest(self) -> dict[str, Any]:
        """The manifest as it stands; empty where there is none yet. Raises `UsageError` for one that cannot be read."""
        path = self.path / "manifest.json"
        try:
            content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise UsageError(f"{path} cannot be read: {error}. Remove {self.path}, or run without --resume") from error
        return content

    def finished(self, cell_id: str) -> dict[str, Any] | None:
        """What was noted when this cell was finished; None if it was not."""
        done = self.path / "cells" / cell_id / "done.json"
        if not done.exists():
            return None
        noted: dict[str, Any] = msgspec.json.decode(done.read_bytes())
        return noted

    def open_cell(self, cell_id: str) -> Path:
        """An empty folder to write a cell into."""
        folder = self._unfinished(cell_id)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise WriteFailed(f"Could not make {folder}: {error}") from error
        return folder

    def close_cell(self, cell_id: str, noted: dict[str, Any]) -> None:
        """The cell is finished: gives it its name."""
        folder = self._unfinished(cell_id)
        final = self.path / "cells" / cell_id
        try:
            (folder / "done.json").write_bytes(msgspec.json.format(msgspec.json.encode(noted)))
            shutil.rmtree(final, ignore_errors=True)
            os.replace(folder, final)
        except OSError as error:
            raise WriteFailed(f"Could not finish cell {cell_id} in {self.path}: {error}") from error

    def drop_cell(self, cell_id: str) -> None:
        """Nothing half-written is left of a cell that did not finish."""
        shutil.rmtree(self._unfinished(cell_id), ignore_errors=True)

    def write_price_book(self, book_id: str, text: bytes) -> None:
        """A price book that charges cite, as the bytes that its hash is of."""
        path = self.path / "price-books" / f"{book_id.removeprefix('sha256:')}.json"
        temporary = path.with_suffix(".tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_bytes(text)
            os.replace(temporary, path)
        except OSError as error:
            raise WriteFailed(f"Could not write {path}: {error}") from error

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        path = self.path / "manifest.json"
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise WriteFailed(f"Could not write {path}: {error}") from error

    def _unfinished(self, cell_id: str) -> Path:
        return self.path / "cells" / f".{cell_id}"


def report_of(folder: RunFolder, out: Path) -> Path:
    """Writes the run's page to `out`; the path written. Raises `WriteFailed`; the records are not touched."""
    try:
        return write_report(folder, out)
    except OSError as error:
        raise WriteFailed(
            f"Could not write the report {out}: {error}. The records are whole in {folder.path}; "
            f"`clawbench report {folder.path}` writes it again, --html elsewhere."
        ) from error


def list_runs(out: Path) -> list[dict[str, Any]]:
    """The manifests under a folder of runs, each with its folder under "path", newest first."""
    runs = []
    for manifest in sorted(out.glob("*/manifest.json")):
        try:
            content = msgspec.json.decode(manifest.read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        if isinstance(content, dict) and "run_id" in content:
            runs.append({**content, "path": str(manifest.parent)})
    return sorted(runs, key=lambda run: str(run.get("created_at", "")), reverse=True)
