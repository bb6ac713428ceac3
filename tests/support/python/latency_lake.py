"""Prints p50 and p99 of the time from a row's commit on the source until its file was in the folder: latency_lake.py LAKE.
A file is shown by a rename, which its ctime tells."""
import os
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

took = []
for path in Path(sys.argv[1]).rglob("*.parquet"):
    if "_lakeward" in path.parts:
        continue
    shown = os.stat(path).st_ctime
    commits = pq.read_table(path, columns=["_commit_ts"], partitioning=None)["_commit_ts"]
    took += [shown - us / 1e6 for us in pc.cast(commits, "int64").to_pylist()]
took.sort()
print(f"p50 {took[len(took) // 2] * 1e3:.0f}  p99 {took[len(took) * 99 // 100] * 1e3:.0f}", end="")
