"""Opens the folder of a table as one table, with two readers, and prints its rows by `_seq`.

usage: versions.py FOLDER
"""
import glob
import sys

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

COLUMNS = ["id", "n", "price", "rate", "x", "x_v3", "count", "note"]
paths = sorted(glob.glob(sys.argv[1] + "/**/*.parquet", recursive=True))

connection = duckdb.connect()
names = ", ".join(f'"{name}"' for name in COLUMNS)
query = f"SELECT {names} FROM read_parquet(?, union_by_name = true) ORDER BY _seq"
duckdb_rows = connection.execute(query, [sys.argv[1] + "/**/*.parquet"]).fetchall()

schema = pa.unify_schemas([pq.read_schema(path) for path in paths], promote_options="permissive")
table = ds.dataset(paths, schema=schema).to_table().sort_by("_seq")
pyarrow_rows = list(zip(*(table.column(name).to_pylist() for name in COLUMNS)))

for reader, rows in (("duckdb", duckdb_rows), ("pyarrow", pyarrow_rows)):
    for row in rows:
        print(reader, *(f"{name}={value}" for name, value in zip(COLUMNS, row)))
