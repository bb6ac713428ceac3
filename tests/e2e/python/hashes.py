"""Prints `id length sha256` of the column `v` of each row of Parquet files; marks of whole tables left out.

usage: hashes.py FILE...
"""
import hashlib
import sys

import pyarrow.parquet as pq

for path in sys.argv[1:]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1, columns=["id", "v", "_op"]):
        for row in batch.to_pylist():
            if row["_op"] != "t":
                print(row["id"], len(row["v"]), hashlib.sha256(row["v"]).hexdigest())
