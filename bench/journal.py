"""Rows in a file: a full run takes most of an hour, and may be taken in parts."""

import json
from dataclasses import asdict
from pathlib import Path

from bench.runner import Row
from bench.timing import Stat

__all__ = ["append_row", "read_rows"]


def append_row(path, row):
    """Add a row to the file, as a line of JSON."""
    with open(path, "a") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def read_rows(path):
    """Return ``{label: Row}``, of each row the last; nothing where there is no file."""
    if not Path(path).exists():
        return {}
    rows = {}
    for line in Path(path).read_text().splitlines():
        fields = json.loads(line)
        stats = {name: Stat(**stat) for name, stat in fields.pop("stats").items()}
        row = Row(**fields, stats=stats)
        rows[row.label] = row
    return rows
