"""Prints the values of Parquet files as two readers see them, each as its length and hash.

usage: large.py FILE...
"""
import hashlib
import sys

import duckdb
import pyarrow.parquet as pq


def shown(value):
    if value is None:
        return "null"
    raw = value.encode() if isinstance(value, str) else value
    return f"{len(raw)}:{hashlib.sha256(raw).hexdigest()}"


def rows(reader, path):
    if reader == "duckdb":
        connection = duckdb.connect()
        cursor = connection.execute(
            "SELECT text, bytes, _before.text, _before.bytes, _before IS NULL FROM read_parquet(?) ORDER BY _seq", [path]
        )
        return cursor.fetchall()
    table = pq.read_table(path).sort_by("_seq").to_pylist()
    images = [row["_before"] or {} for row in table]
    return [
        (row["text"], row["bytes"], image.get("text"), image.get("bytes"), row["_before"] is None)
        for row, image in zip(table, images)
    ]


for path in sys.argv[1:]:
    for reader in ("duckdb", "pyarrow"):
        for text, raw, text_before, raw_before, no_image in rows(reader, path):
            print(reader, *map(shown, (text, raw, text_before, raw_before)), no_image)
