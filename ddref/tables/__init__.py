"""Tables: text files read strictly, data frames, and both as matrices of numbers.

`read_text` reads CSV and its kin without dropping or guessing, `read_frame` what pandas
reads. `TableEncoder` turns either into a matrix of numbers and says what it did; its
description is stored in the file of a distilled set, so that `verify` and `predict` do
the same.
"""

from .encoder import Entry, TableEncoder
from .frames import is_frame, read_frame
from .text import Text, read_text

__all__ = ["Entry", "TableEncoder", "Text", "is_frame", "read_frame", "read_text"]
