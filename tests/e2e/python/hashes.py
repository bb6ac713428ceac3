"""Prints `id length sha256` of the column `v` of each row of Parquet files.

usage: hashes.py FILE...
"""
import hashlib
import sys

import pyarrow.parquet as pq

for path in sys.argv[1:]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1, columns=["id", "v"]):
        for row in batch.to_pylist():
            print(row["id"], len(row["v"]), hashlib.sha256(row["v"]).hexdigest())
