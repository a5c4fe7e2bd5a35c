"""Data frames: what is one, and files that pandas reads."""

from pathlib import Path
from typing import Any

from .cells import shown
from .columns import pandas_for

READERS = {
    ".parquet": "read_parquet",
    ".feather": "read_feather",
    ".xlsx": "read_excel",
    ".xls": "read_excel",
    ".ods": "read_excel",
}


def is_frame(X: Any) -> bool:
    """Whether `X` is a data frame of pandas, or has a way to be one.

    >>> is_frame([[1, 2]])
    False
    """
    return hasattr(X, "columns") and (hasattr(X, "iloc") or hasattr(X, "to_pandas"))


def as_frame(X: Any) -> Any:
    """A data frame of pandas, with the index as it is.

    >>> import pandas
    >>> as_frame(pandas.DataFrame({"a": [1]})).shape
    (1, 1)
    """
    return X if hasattr(X, "iloc") else X.to_pandas()


def read_frame(path: str | Path) -> Any:
    """The data frame in a .parquet, .feather, .xlsx, .xls or .ods file, by pandas.

    ImportError names what has to be installed; an index that is no row number is a
    column again. Of several sheets the first is read, and ``attrs["notes"]`` says so.

    >>> read_frame("no.parquet")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no.parquet does not exist
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    ending = path.suffix.lower()
    pandas = pandas_for(f"files {ending}")
    try:
        frame, notes = _read(pandas, path, READERS[ending])
    except ImportError as error:
        raise ImportError(
            f"{path.name} needs a reader beside pandas: {error}"
        ) from error
    except Exception as error:  # parsers raise what they like
        raise ValueError(f"{path}: damaged, or not {ending} ({error})") from error
    numbered = isinstance(frame.index, pandas.RangeIndex)
    frame = frame if numbered else frame.reset_index()
    frame.attrs = {"notes": notes}
    return frame


def _read(pandas, path, reader):
    """The frame in a file, and what is not looked at there."""
    if reader != "read_excel":
        return getattr(pandas, reader)(path), ()
    with pandas.ExcelFile(path) as book:
        first, *others = book.sheet_names
        said = f"sheet {shown([first])} is read, not looked at: {shown(others)}"
        frame = pandas.read_excel(book, sheet_name=first)
    return frame, (said,) if others else ()
