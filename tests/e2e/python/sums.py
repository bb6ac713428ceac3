"""Prints what a SELECT of such expressions says of Parquet files, a value a line.

usage: sums.py EXPRESSIONS FILE...
"""
import sys

import duckdb

connection = duckdb.connect()
connection.execute("SET memory_limit = '4GB'")
files = "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in sys.argv[2:]) + "]"
for value in connection.execute(f"SELECT {sys.argv[1]} FROM read_parquet({files})").fetchone():
    print(value)
