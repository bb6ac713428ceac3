"""The demo's reader: the lake through DuckDB, nothing of lakeward in it.

usage: lake.py newest FOLDER TABLE COLUMN...   prints the newest change events of a table
       lake.py compare FOLDER < tables.json    compares each table's latest state with the source's rows
tables.json: [{"table": name, "key": [column, ...], "columns": [...], "rows": [[text or null, ...], ...]}, ...],
values as MySQL prints them in UTC, binary ones in hexadecimal.
"""
import json
import re
import sys
from datetime import date

import duckdb

LATEST = """
SELECT {columns} FROM {source}
QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY _seq DESC) = 1 AND _op <> 'd'
"""


def files(folder, table):
    return f"{folder}/shop/{table}/**/*.parquet"


def newest(folder, table, columns):
    names = ", ".join(columns)
    source = f"read_parquet('{files(folder, table)}', union_by_name = true)"
    print(duckdb.sql(f"SELECT _seq, _op, {names} FROM {source} ORDER BY _seq DESC LIMIT 5"))


def micros(text):
    """Microseconds of a TIME or, since 1970, of a DATETIME as MySQL prints it."""
    match = re.fullmatch(r"(?:(\d+-\d+-\d+) )?(-?)(\d+):(\d+):(\d+)(?:\.(\d+))?", text)
    day, sign, hours, minutes, seconds, fraction = match.groups()
    days = (date.fromisoformat(day) - date(1970, 1, 1)).days if day else 0
    whole = days * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    value = whole * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    return -value if sign else value


def same(text, value):
    if text is None or value is None:
        return text is value
    if isinstance(value, bool):
        return text == str(int(value))
    if isinstance(value, int):
        return value == (micros(text) if ":" in text else int(text))
    if isinstance(value, float):
        return float(text) == value
    if isinstance(value, bytes):
        return text == value.hex().upper()
    return text == str(value)


def compare(folder, entry):
    table, key, columns = entry["table"], entry["key"], entry["columns"]
    source = f"read_parquet('{files(folder, table)}', union_by_name = true, hive_partitioning = false)"
    described = duckdb.sql(f"DESCRIBE SELECT * FROM {source}")
    kinds = {row[0]: row[1] for row in described.fetchall()}
    shown = [f"epoch_us({name})" if kinds[name].startswith("TIMESTAMP") else name for name in columns]
    query = LATEST.format(columns=", ".join(shown), source=source, key=", ".join(key))
    places = [columns.index(name) for name in key]
    lake = {tuple(str(row[place]) for place in places): row for row in duckdb.sql(query).fetchall()}
    wrong = []
    for row in entry["rows"]:
        found = lake.pop(tuple(row[place] for place in places), None)
        if found is None or not all(map(same, row, found)):
            wrong.append(f"source {row}\n  lake   {found}")
    wrong += [f"only in the lake: {row}" for row in lake.values()]
    print(f"   {'shop.' + table:<18}{len(entry['rows']):>7} rows   {'equal' if not wrong else 'DIFFERENT'}")
    for line in wrong[:3]:
        print("  " + line)
    return not wrong


def main():
    if sys.argv[1] == "newest":
        return newest(sys.argv[2], sys.argv[3], sys.argv[4:])
    results = [compare(sys.argv[2], entry) for entry in json.load(sys.stdin)]
    sys.exit(0 if results and all(results) else 1)


main()
