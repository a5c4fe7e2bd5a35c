"""The first edition's path of what is now in `ddref.statistics`."""

raise ImportError(
    "ddref.distributed is now ddref.statistics: row_shards, accumulate_shards and "
    "Processes are there, and the command is `python -m ddref.statistics`"
)
