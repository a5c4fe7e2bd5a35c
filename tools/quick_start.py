"""A plugin of `make test` (pytest -p tools.quick_start): each of its processes starts three seconds sooner.

jsonschema, which reads notebooks, imports rfc3987_syntax where it is installed. That builds a grammar for addresses
each time, and no notebook has an address to check.
"""

import sys

sys.modules.setdefault("rfc3987_syntax", None)
