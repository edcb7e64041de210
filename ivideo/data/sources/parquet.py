"""Columns out of parquet files, only those and only of the rows that are wanted, with their sizes checked first."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.data.sources.source import Array

MAX_BYTES = 8 * 2**30
"""Most that the columns of one read may take, unpacked."""


def column_names(path: Path) -> list[str]:
    """Return the names of a file's columns."""
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_rows(path: Path, columns: Sequence[str], *, where: tuple[str, int] | None = None) -> Any:
    """Return a pyarrow table of some columns; with `where=(column, value)`, of the rows that have this value there.

    Groups of rows whose statistics exclude the value are not read.
    """
    import pyarrow.compute as pc

    with _opened(path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"{path}: there is no column {missing[0]!r}; it has {', '.join(map(repr, file.schema_arrow.names))}"
            )
        groups = list(range(file.num_row_groups))
        wanted = list(columns)
        if where is not None:
            wanted = list(dict.fromkeys([*columns, where[0]]))
            groups = [number for number in groups if _may_hold(file, number, *where)]
        _check_size(path, file, groups, wanted)
        table = file.read_row_groups(groups, columns=wanted, use_threads=False)
        if where is not None:
            table = table.filter(pc.equal(table[where[0]], where[1]))
        return table.select(list(columns))


def numbers(path: Path, table: Any, name: str) -> Array:
    """Return a column of numbers `[t]`, or of equally long lists of numbers `[t n]`."""
    import pyarrow.compute as pc

    column = table[name].combine_chunks()
    try:
        if column.null_count:
            raise ValueError("some are missing")
        if not hasattr(column.type, "value_type"):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        if len(pc.unique(pc.list_value_length(column))) > 1:
            raise ValueError("the lists differ in length")
        flat = column.flatten()
        while hasattr(flat.type, "value_type"):
            flat = flat.flatten()
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), -1 if len(column) else 0)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"{path}: {name!r} is no column of numbers ({error}); expected numbers or lists of them"
        ) from error


def _may_hold(file: Any, group: int, name: str, value: int) -> bool:
    for number in range(file.metadata.num_columns):
        column = file.metadata.row_group(group).column(number)
        if column.path_in_schema == name:
            known = column.statistics
            return known is None or not known.has_min_max or known.min <= value <= known.max
    return True


def _check_size(path: Path, file: Any, groups: Sequence[int], wanted: Sequence[str]) -> None:
    total = 0
    for group in groups:
        for number in range(file.metadata.num_columns):
            column = file.metadata.row_group(group).column(number)
            if any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in wanted):
                total += column.total_uncompressed_size
    if total > MAX_BYTES:
        raise ValueError(
            f"{path}: {', '.join(wanted)} would unpack to {total / 2**30:.1f} GiB; expected at most "
            f"{MAX_BYTES / 2**30:.0f} GiB: store fewer episodes in a file"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; expected parquet: fetch or record it again")
    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: no readable parquet ({reason}); the file is truncated or damaged: fetch or record it again"
        ) from error
