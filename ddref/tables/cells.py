"""What a cell of a text table says: a number, a code, nothing, or a word.

Python's own `float` takes 1_000, nan, inf and digits of other scripts for numbers; a
table means something else by them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Spellings of a value that is not there, in lower case.
MISSING = frozenset(
    "|na|n/a|n.a.|nan|-nan|nat|null|none|nil|missing|?|-|--|.|#n/a|#na|<na>".split("|")
)
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
COMMA = re.compile(r"[+-]?(?:[0-9]+,[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]+)?")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
WHOLE = re.compile(r"[+-]?[0-9]+")
# Digits that are no quantity: 007, 2019_01, and more of them than a float holds.
CODE = re.compile(r"[+-]?(?:0[0-9]+|[0-9]{16,}|[0-9]+(?:_[0-9]+)+)")
# A quantity with signs or separators that Python does not read: $1,200, (3.5), <5, 12%,
# or a minus that is another letter.
DRESSED = re.compile(
    r"(?=.*[0-9])[($\u20ac\u00a3<>~=]*\s*[+\u2212\u2013-]?"
    r"(?:[0-9]*|[0-9]{1,3}(?:[ ,.'\u00a0][0-9]{3})+)"
    r"(?:[.,][0-9]+)?\s*[%$\u20ac\u00a3)+*]*"
)
# How a date or a quantity begins, in a spelling that is not read: 5-Mar-21, 12 cm.
COUNTED = re.compile(
    r"\W*(?:[0-9]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.IGNORECASE
)
FEW = 3  # different words among numbers that are taken for slips


def shown(names: Sequence[str], length: int = 120) -> str:
    """Names in quotes, as many as there is room for.

    >>> shown(["a", "b"]), shown(["a"] * 9, 12)
    ("'a', 'b'", "'a', 'a' and 7 more")
    """
    parts = [repr(name if len(name) <= 40 else name[:37] + "...") for name in names]
    count = len(parts)
    while count > 1 and len(", ".join(parts[:count])) > length:
        count -= 1
    rest = f" and {len(parts) - count} more" if count < len(parts) else ""
    return ", ".join(parts[:count]) + rest


def may_be_quantities(words: Sequence[object]) -> bool:
    """Whether words could be dates or quantities in a spelling that is not read.

    >>> may_be_quantities(["12 cm", "7 cm"]), may_be_quantities(["007", "a1", "b2"])
    (True, False)
    """
    texts = list(map(str, words))
    shapes = {re.sub("[0-9]+", "0", text) for text in texts}  # months are a dozen
    counted = all(COUNTED.match(text) and not CODE.fullmatch(text) for text in texts)
    return counted and len(shapes) <= min(12, len(texts) - 1)


def alike(words: Sequence[object]) -> list[str]:
    """Words of which there are others that differ in capitals or blanks alone.

    >>> alike(["Yes", "no", "yes"])
    ['Yes', 'yes']
    """
    texts = list(map(str, words))
    seen = ["".join(filter(str.isprintable, text)) for text in texts]
    plain = [" ".join(text.split()).casefold() for text in seen]
    counts = Counter(plain)
    return [text for text, key in zip(texts, plain, strict=True) if counts[key] > 1]


class Slip(NamedTuple):
    """A cell that does not fit its column, and the sentence that says so."""

    row: int
    text: str


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value.

    >>> [is_missing(cell) for cell in ("", "N/A", "?", "0", "nano")]
    [True, True, True, False, False]
    """
    return cell.lower() in MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a decimal number.

    >>> [is_number(cell) for cell in ("-1.5e3", "7", "1_000", "nan", "1,5")]
    [True, True, False, False, False]
    """
    return NUMBER.fullmatch(cell) is not None


def are_numbers(cells: Sequence[str]) -> bool:
    """Whether cells, none of them missing, are quantities: numbers, and no codes.

    >>> are_numbers(["1", "20.5"]), are_numbers(["007", "12"])
    (True, False)
    """
    return all(map(NUMBER.fullmatch, cells)) and not any(map(CODE.fullmatch, cells))


def as_numbers(cells: Sequence[str]) -> np.ndarray:
    """Numbers in float64, NaN where a cell is missing.

    >>> as_numbers(["1", "?", "2.5"])
    array([1. , nan, 2.5])
    """
    return np.array([np.nan if is_missing(c) else float(c) for c in cells])


def slip(cells: Sequence[str]) -> Slip | None:
    """The first cell that keeps a column from being numbers, where it seems to be meant
    as numbers: nine in ten are, or most, with at most three different words; or all are
    but for separators and signs. Codes are no numbers.

    >>> slip(["1", "2", "x"]).text
    "'x' among 2 numbers"
    >>> slip(["a", "b", "2"]), slip(["007", "8", "x"])
    (None, None)
    """
    counts = Counter(cells)  # of few different words, where they are many cells
    found = [cell for cell in counts if not is_missing(cell)]
    codes = {cell for cell in found if CODE.fullmatch(cell)}
    if codes and all(cell in codes or WHOLE.fullmatch(cell) for cell in found):
        return None
    odd = [cell for cell in found if cell in codes or not is_number(cell)]
    if not odd:
        return None
    first = list(cells).index(odd[0])
    total, strange = (sum(counts[cell] for cell in some) for some in (found, odd))
    numbers = total - strange
    if all(map(DRESSED.fullmatch, odd)):
        return Slip(first, f"{shown(odd[:1])} is a number only without its signs")
    few = len(odd) <= FEW and numbers >= strange
    if few or numbers >= 9 * strange:
        return Slip(first, f"{shown(odd[:1])} among {numbers} numbers")
    return None
