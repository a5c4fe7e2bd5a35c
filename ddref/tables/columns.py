"""Columns as the encoder takes them: numbers, dates or words, and what is missing."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .cells import are_numbers, as_numbers, is_missing, shown, slip

DAY = 86400.0  # seconds
ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?")
WRITTEN = re.compile(r"[0-9]{1,4}([./-])[0-9]{1,2}\1[0-9]{1,4}(?: [0-9:]+)?")
ORDERS = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%Y{0}%m{0}%d")
TIMES = ("", " %H:%M", " %H:%M:%S")


class Column(NamedTuple):
    """One column, typed."""

    kind: str  # "number", "date" (days since 1970), "words", or "unclear"
    values: np.ndarray  # (n,): float64, or objects where they are words
    missing: np.ndarray  # (n,) of bool
    format: str | None = None  # of a date that was a text
    why: str = ""  # of what is unclear


class Misfit(ValueError):
    """A column that cannot be taken as it is; `row` is the first that shows it."""

    def __init__(self, text: str, row: int | None = None) -> None:
        super().__init__(text)
        self.row = row


def pandas_for(what: str) -> Any:
    """The module pandas, or an ImportError that says what it is needed for.

    >>> pandas_for("words").__name__
    'pandas'
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f'{what} need pandas: pip install "ddref[tables]" (or pandas)'
        ) from error
    return pandas


# -------------------------------------------------------------------------- from texts


def from_cells(
    cells: Sequence[str],
    name: str,
    kind: str | None = None,
    *,
    format: str | None = None,
    levels: Sequence[Any] = (),
    forced: bool = False,
) -> Column:
    """The column that cells of text are.

    Without `kind` it is found: numbers where all are; dates where all are, of one
    format; else words. `forced` words are words whatever they look like. `levels` are
    words even where they look as if missing.

    >>> from_cells(["1", "", "3"], "a").values
    array([ 1., nan,  3.])
    """
    if kind in (None, "number") and not forced and are_numbers(cells):  # the usual case
        values = _finite(np.array(cells, dtype=np.float64), cells)
        return Column("number", values, np.zeros(len(cells), dtype=bool))
    known = set(map(str, levels))
    missing = np.array(
        [
            not cell or (not forced and is_missing(cell) and cell not in known)
            for cell in cells
        ]
    )
    found = [cell for cell, gone in zip(cells, missing, strict=True) if not gone]
    if kind == "number" or (kind is None and not forced):
        if kind == "number":
            for row, cell in enumerate(cells):
                if not missing[row] and not are_numbers([cell]):
                    raise Misfit(f"{shown([cell])}, where numbers were", row)
        if kind == "number" or are_numbers(found):
            return Column("number", _finite(as_numbers(cells), cells), missing)
        strange = slip(cells)
        if strange:
            raise Misfit(strange.text, strange.row)
    pandas = pandas_for(f"words such as {shown(found[:1])} in column {shown([name])}")
    words = pandas.Series(cells, dtype=object).where(~missing)
    if forced or kind == "words":
        return Column("words", words.to_numpy(), missing)
    return _dates(words, missing, format) or Column("words", words.to_numpy(), missing)


def _finite(values, cells):
    odd = np.flatnonzero(np.isinf(values))
    if len(odd):
        row = int(odd[0])
        raise Misfit(f"{shown([str(cells[row])])} is not a finite number", row)
    return values


def _dates(words, missing, format=None):
    """Texts as dates, or None where they are none, or not of the given format."""
    pandas = pandas_for("dates")
    found = words[~missing]
    if format is None:
        different = found.unique()
        written = [ISO.fullmatch(word) for word in different]
        marks = [WRITTEN.fullmatch(word) for word in different]
        if all(written):
            formats = ["ISO8601"]
        elif all(marks):
            formats = [o.format(marks[0][1]) + t for o in ORDERS for t in TIMES]
        else:
            return None
    else:
        formats = [format]
    fitting = {}
    for one in formats:
        read = pandas.to_datetime(words, format=one, errors="coerce", utc=True)
        if read[~missing].notna().all():
            fitting[one] = read
    if not fitting and format is None:
        return None
    if not fitting:
        raise Misfit(f"dates that are not all written as {format}")
    if len(fitting) > 1:
        why = "dates of which day and month cannot be told apart; write 2019-01-31"
        return Column("unclear", words.to_numpy(), missing, why=why)
    (format, read), *_ = fitting.items()
    return Column("date", _days(read), missing, format)


def _days(series):
    """Days since 1970 in float64, NaN where there is no date."""
    pandas = pandas_for("dates")
    since = series - pandas.Timestamp(0, tz=series.dt.tz)
    return since.dt.total_seconds().to_numpy(dtype=np.float64) / DAY


# -------------------------------------------------------------------- from data frames


def from_series(
    series: Any,
    kind: str | None = None,
    *,
    format: str | None = None,
    forced: bool = False,
) -> Column:
    """The column that a pandas Series is, by its dtype and, of objects, its values.

    >>> import pandas
    >>> from_series(pandas.Series(["2020-01-02", None])).values
    array([18263.,    nan])
    """
    pandas = pandas_for("data frames")
    types = pandas.api.types
    missing = series.isna().to_numpy(dtype=bool)
    if forced:
        return _words(series, missing)
    if isinstance(series.dtype, pandas.CategoricalDtype):
        levels = series.cat.categories
        if not types.is_datetime64_any_dtype(levels.dtype):
            return _words(series, missing)
        series = series.astype(levels.dtype)
    if isinstance(series.dtype, pandas.PeriodDtype):
        series = series.dt.to_timestamp()
    if hasattr(series.dtype, "pyarrow_dtype") and "date" in str(series.dtype):
        series = series.astype(object)
    if series.dtype == object:
        series = _inferred(series)
    if types.is_datetime64_any_dtype(series.dtype):
        return Column("date", _days(series), missing)
    if types.is_timedelta64_dtype(series.dtype):
        days = series.dt.total_seconds().to_numpy(dtype=np.float64) / DAY
        return Column("number", days, missing)
    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(
        series.dtype
    ):
        if getattr(series.dtype, "itemsize", 8) > 8:
            raise Misfit(f"values of {series.dtype}, of which float64 holds a part")
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return Column("number", _finite(values, values), missing)
    if missing.all():
        return Column("number", np.full(len(series), np.nan), missing)
    if not types.is_string_dtype(series.dtype):
        raise Misfit(f"values of {series.dtype}, neither numbers, words nor dates")
    return _from_words(series, missing, kind, format)


def _from_words(series, missing, kind, format):
    """Words, or dates that are written; refused where they are numbers as texts."""
    words = series.astype(object).where(~missing)
    found = words[~missing].tolist()
    if kind == "number":
        row = int(np.argmax(~missing))
        raise Misfit(f"{shown([str(words.iloc[row])])}, where numbers were", row)
    if kind is None:
        odd = slip(found)
        plain = [word for word in dict.fromkeys(found) if not is_missing(word)]
        if odd:
            rows = np.flatnonzero(~missing)
            raise Misfit(odd.text, int(rows[odd.row]))
        if plain and are_numbers(plain):
            raise Misfit(
                f"numbers as texts such as {shown(plain[:1])}: convert them "
                "(pandas.to_numeric), or to a category where they are words"
            )
    if kind != "words":
        dates = _dates(words, missing, format if kind == "date" else None)
        if dates is not None:
            return dates
    return Column("words", words.to_numpy(), missing)


def _inferred(series):
    """A column of objects as the type that all of them are of."""
    pandas = pandas_for("data frames")
    kind = pandas.api.types.infer_dtype(series, skipna=True)
    if kind in ("string", "empty"):
        return series
    if kind in ("integer", "floating", "mixed-integer-float", "decimal", "boolean"):
        return series.astype("Float64")
    if kind in ("date", "datetime", "datetime64"):
        return pandas.to_datetime(series, utc=True)
    found = sorted({type(value).__name__ for value in series.dropna()})
    raise Misfit(
        f"values of several types or of one unknown here: {', '.join(found[:5])}"
    )


def _words(series, missing):
    """A column of words; of categories that are no texts, such as intervals, too."""
    plain = (str, bool, int, float, np.integer, np.floating, np.bool_)
    values = series.astype(object).to_numpy(copy=True)
    for i, value in enumerate(values):
        if missing[i]:
            values[i] = None
        elif isinstance(value, np.generic):
            values[i] = value.item()
        elif not isinstance(value, plain):
            values[i] = str(value)
    return Column("words", values, missing)


# ----------------------------------------------------------------------------- targets


def target_from_cells(
    cells: Sequence[str], *, words: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and where they are missing: whole numbers, numbers or words.

    Codes such as 007 and 2019_01 are words. Misfit where most are numbers and some are
    not; with `words` every cell is a word.

    >>> target_from_cells(["1", "2", "NA"])
    (array([1, 2, 0]), array([False, False,  True]))
    """
    missing = np.array([not c or (not words and is_missing(c)) for c in cells])
    found = [cell for cell, gone in zip(cells, missing, strict=True) if not gone]
    odd = None if words else slip(cells)
    if odd is not None:
        raise Misfit(odd.text, odd.row)
    if words or not found or not are_numbers(found):
        return np.array(cells), missing
    filled = ["0" if gone else c for c, gone in zip(cells, missing, strict=True)]
    if all(cell.lstrip("+-").isdigit() for cell in found):
        return np.array([int(cell) for cell in filled], dtype=np.int64), missing
    return _finite(as_numbers(filled), cells), missing


def target_from_series(series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Targets of a pandas Series, and where they are missing.

    >>> import pandas
    >>> target_from_series(pandas.Series(["a", None]).astype("category"))[1]
    array([False,  True])
    """
    missing = series.isna().to_numpy(dtype=bool)
    kept = series[~missing]
    column = from_series(kept, "words") if len(kept) else Column("words", kept, missing)
    if column.kind != "number":
        words = kept.astype(str) if column.kind == "date" else column.values
        values = np.array(list(map(str, words)) or [""])
    elif series.dtype == bool or str(series.dtype) == "boolean":
        values = column.values.astype(bool)
    else:
        values = column.values
        whole = np.issubdtype(
            getattr(series.dtype, "numpy_dtype", series.dtype), np.integer
        )
        values = values.astype(np.int64) if whole else values
    y = np.zeros(len(series), dtype=values.dtype)
    y[~missing] = values
    return y, missing
