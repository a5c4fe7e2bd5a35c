"""Names of a package whose files are loaded when they are first asked for."""

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any


def lazily(
    package: str, file_of: dict[str, str], files: Collection[str]
) -> Callable[[str], Any]:
    """The `__getattr__` of a package: its names by the file that defines each, and its
    files. Where a file needs PyTorch and it is not installed, that is said.
    """
    short = package.rpartition(".")[2]

    def attribute(name: str) -> Any:
        if name in file_of:
            try:
                return getattr(import_module(f"{package}.{file_of[name]}"), name)
            except ModuleNotFoundError as error:
                raise ImportError(
                    f"{short}.{name} needs PyTorch: install torch, or ddref with its "
                    "extra 'torch'"
                ) from error
        if name in files:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute
