"""The lake: Delta tables in a folder or on object storage, with pinned schemas (see `edgeloop_fleet.schemas`).

Reading goes through Delta's own engine. deltalake's pyarrow readers were seen to abort the process as it ends, and
deletion vectors are never written, since Daft returns the deleted rows.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from edgeloop.errors import MissingExtraError
from edgeloop_fleet.errors import LakeError, LostRaceError
from edgeloop_fleet.schemas import PARTITIONED, SCHEMAS, check_table_name

__all__ = ["Lake"]

_ERRORS = (DeltaError, OSError)
_DELETE_ATTEMPTS = 5
# Of two writers of one version the store itself refuses the second (If-None-Match), so that no lock table is needed.
_S3 = {"aws_conditional_put": "etag"}


class Lake:
    """The tables of one fleet. Safe to use from several threads; a table is created at its first append.

    Args:
        uri: a folder, or `s3://…` and its like.
        storage_options: keys and endpoint for object storage, as `deltalake` takes them; what isn't given comes from
            the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …).
    """

    def __init__(self, uri: str | os.PathLike[str], storage_options: Mapping[str, str] | None = None) -> None:
        self.uri = os.fspath(uri).rstrip("/")
        self._options = {**(_S3 if self.uri.startswith("s3://") else {}), **(storage_options or {})}
        self._handles: dict[str, DeltaTable] = {}
        self._locks = {name: threading.Lock() for name in SCHEMAS}

    def append(self, table: str, rows: Any, *, transactions: Mapping[str, int] | None = None) -> int:
        """Commit rows, all or none.

        Args:
            table: the table's name.
            rows: a `pyarrow.Table`, cast to the table's schema.
            transactions: application id → version. A version must be above the one that was last committed under its
                id: two writers of one id can't both get through (Delta protocol, "Transaction Identifiers").

        Returns:
            The table's version after the commit.

        Raises:
            LostRaceError: another writer has committed a version at or above ours; nothing was written.
            LakeError: the storage failed. Whether the commit got through is then unknown; `transaction_version` tells.
        """
        schema = SCHEMAS[check_table_name(table)]
        marks = [Transaction(app, version) for app, version in (transactions or {}).items()]
        with self._locks[table]:
            try:
                handle = self._open(table, create=True)
                for mark in marks:
                    last = handle.transaction_version(mark.app_id)
                    if last is not None and last >= mark.version:
                        raise LostRaceError(f"{table}: {mark.app_id} is at version {last} already, past our own")
                write_deltalake(
                    handle,
                    rows.select(schema.names).cast(schema),
                    mode="append",
                    commit_properties=CommitProperties(app_transactions=marks) if marks else None,
                )
            except CommitFailedError as error:
                self._handles.pop(table, None)
                if "Concurrent transaction" in str(error):
                    raise LostRaceError(f"{table}: another writer of the same shards was faster: {error}") from error
                raise LakeError(f"{self._path(table)}: {_why(error)}") from error
            except _ERRORS as error:
                self._handles.pop(table, None)
                raise LakeError(f"{self._path(table)}: {_why(error)}") from error
            return int(handle.version())

    def transaction_version(self, table: str, app_id: str) -> int:
        """The version that was last committed under `app_id`; 0 where none was."""
        with self._locks[check_table_name(table)]:
            handle = self._open_or_none(table)
            return 0 if handle is None else handle.transaction_version(app_id) or 0

    def read(self, table: str, columns: Sequence[str] | None = None, where: str | None = None) -> Any:
        """Rows as a `pyarrow.Table` with the pinned types, in no stated order; empty where the table isn't there.

        Args:
            table: the table's name.
            columns: which; None for all.
            where: a predicate in SQL, such as `device = 'cam-1' AND seq > 3`.

        Raises:
            LakeError: the storage failed, or the predicate isn't one.
        """
        schema = SCHEMAS[check_table_name(table)]
        names = list(columns or schema.names)
        pinned = pa.schema([schema.field(name) for name in names])
        with self._locks[table]:
            handle = self._open_or_none(table)
            if handle is None:
                return pinned.empty_table()
            try:
                # The engine gives string views; the rest of us wants plain strings.
                return pa.table(handle.scan(columns=names, predicate=where)).cast(pinned)
            except _ERRORS as error:
                raise LakeError(f"{self._path(table)}: {_why(error)}") from error

    def scan(self, table: str, columns: Sequence[str], where: str) -> Iterator[Any]:
        """`read` in pieces, as `pyarrow.RecordBatch`es whose strings may be views or dictionaries: for long tables.

        Raises:
            LakeError: the storage failed, or the predicate isn't one.
        """
        with self._locks[check_table_name(table)]:
            handle = self._open_or_none(table)
        if handle is None:
            return
        try:
            yield from pa.RecordBatchReader.from_stream(handle.scan(columns=list(columns), predicate=where))
        except _ERRORS as error:
            raise LakeError(f"{self._path(table)}: {_why(error)}") from error

    def daft(self, table: str, io_config: Any = None) -> Any:
        """The table as a Daft DataFrame, for queries past one machine.

        Args:
            table: the table's name.
            io_config: a `daft.io.IOConfig` with the keys to object storage, in Daft's own form.

        Raises:
            MissingExtraError: Daft isn't installed.
            LakeError: the table isn't there yet.
        """
        try:
            import daft
        except ImportError as error:
            raise MissingExtraError("cluster", "daft") from error
        with self._locks[check_table_name(table)]:
            handle = self._open_or_none(table)
        if handle is None:
            raise LakeError(f"{self._path(table)}: nothing was committed yet")
        return daft.read_deltalake(self._path(table), io_config=io_config)

    def compact(self, table: str, *, retention_hours: int = 168) -> None:
        """Join small files and delete those that no version of the last `retention_hours` needs.

        A reader that still holds an older version fails: keep the retention above the longest query.

        Raises:
            LakeError: the storage failed.
        """
        with self._locks[check_table_name(table)]:
            handle = self._open_or_none(table)
            if handle is None:
                return
            try:
                handle.optimize.compact()
                handle.vacuum(retention_hours=retention_hours, enforce_retention_duration=False, dry_run=False)
                handle.create_checkpoint()
            except _ERRORS as error:
                self._handles.pop(table, None)
                raise LakeError(f"{self._path(table)}: {_why(error)}") from error

    def delete(self, table: str, where: str) -> int:
        """Delete rows; older versions of the table have them until `compact` removes their files.

        Raises:
            LakeError: the storage failed, or the predicate isn't one; commits in between are waited out five times.
        """
        for attempt in range(_DELETE_ATTEMPTS):
            with self._locks[check_table_name(table)]:
                handle = self._open_or_none(table)
                if handle is None:
                    return 0
                try:
                    return int(handle.delete(where)["num_deleted_rows"])
                except _ERRORS as error:
                    self._handles.pop(table, None)
                    if attempt == _DELETE_ATTEMPTS - 1 or not isinstance(error, CommitFailedError):
                        raise LakeError(f"{self._path(table)}: {_why(error)}") from error
        raise AssertionError  # the last attempt has returned or raised

    def again(self) -> Lake:
        """The same lake with connections of its own, for work that others shouldn't wait for."""
        return Lake(self.uri, self._options)

    def files(self, table: str) -> int:
        """How many data files the table's latest version has."""
        with self._locks[check_table_name(table)]:
            handle = self._open_or_none(table)
            return 0 if handle is None else len(handle.file_uris())

    def _path(self, table: str) -> str:
        return f"{self.uri}/{table}"

    def _open_or_none(self, table: str) -> DeltaTable | None:
        try:
            return self._open(table, create=False)
        except TableNotFoundError:
            return None
        except _ERRORS as error:
            raise LakeError(f"{self._path(table)}: {_why(error)}") from error

    def _open(self, table: str, *, create: bool) -> DeltaTable:
        """The table at its latest version."""
        handle = self._handles.get(table)
        if handle is not None:
            handle.update_incremental()
            return handle
        try:
            handle = DeltaTable(self._path(table), storage_options=self._options)
        except TableNotFoundError:
            if not create:
                raise
            handle = DeltaTable.create(
                self._path(table),
                schema=SCHEMAS[table],
                mode="ignore",
                partition_by=["day"] if table in PARTITIONED else None,
                storage_options=self._options,
            )
        self._handles[table] = handle
        return handle


def _why(error: Exception) -> str:
    """The engine's message as one line, without the colours that it has for terminals."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
