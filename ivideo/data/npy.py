"""Arrays in `.npy` files: written row by row, or mapped into memory without being read."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class GrowingArray:
    """An `.npy` file that rows are added to; it is whole once closed."""

    def __init__(self, path: Path, dtype: Any, row: tuple[int, ...]) -> None:
        self._row, self._dtype, self.rows = row, np.dtype(dtype), 0
        self._file = path.open("wb")
        self._header()

    def append(self, values: NDArray[Any]) -> None:
        """Add rows `[n, *row]`."""
        assert values.shape[1:] == self._row, (values.shape, self._row)
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self.rows += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._file.seek(0)
                self._header()
        finally:
            self._file.close()

    def _header(self) -> None:
        # numpy leaves room for the first axis to grow in place.
        shape = (self.rows, *self._row)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        )


def mapped(path: Path, dtype: torch.dtype, row: tuple[int, ...]) -> Tensor:
    """Return the rows `[n, *row]` of an `.npy` file without reading them; what is written to them stays in memory.

    Raises ValueError for a file that is not such an array.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version}")
            shape, fortran, found = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
            size = file.seek(0, os.SEEK_END)
    except ValueError as error:
        raise ValueError(f"{path}: no array ({error}); the file is damaged: make the folder anew") from error
    wanted = torch.empty(0, dtype=dtype).numpy().dtype
    rows = shape[0] if shape else 0
    length = rows * int(np.prod(row)) * wanted.itemsize
    if found != wanted or shape != (rows, *row) or fortran or size != start + length or start % 64:
        raise ValueError(
            f"{path}: an array {list(shape)} of {found} in {size} bytes; expected rows {list(row)} of {wanted}: the "
            "file is damaged, make the folder anew"
        )
    # Not numpy's own map, which keeps a file descriptor open for every one of thousands of files.
    whole = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return whole[start:].view(dtype).view(rows, *row)


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write a whole array."""
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, values, version=(1, 0), allow_pickle=False)
