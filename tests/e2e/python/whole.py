"""Compares a table's latest state in the lake with the rows that the server exported, and counts numbers.

usage: whole.py < asked.json > answer.json
stdin: {"tables": [{"table": "name", "files": [path, ...], "columns": [[name, kind], ...], "key": [name, ...],
                    "source": path}, ...], "all_files": [path, ...]}
stdout: {"tables": {name: {"ops": {op: count}, "wrong": count, "shown": [text, ...]}},
         "numbers": {"count": .., "distinct": .., "first": .., "last": ..}}

An export is a text file of the server (tab-separated, \\N for NULL) whose columns hold numbers as text, `hex` columns in
hexadecimal digits (text as UTF-8) and `time` columns as `YYYY-MM-DD HH:MM:SS.ffffff`. A table without a key is compared
as a bag of rows: every event with an image adds one, every image before a change takes one away.
"""
import json
import sys

import duckdb

SHOWN = {
    "number": "regexp_replace(CAST({} AS VARCHAR), '^(-?)\\.', '\\g<1>0.')".replace("\\g<1>", "\\1"),
    "hex": "hex({})",
    "time": "strftime({}, '%Y-%m-%d %H:%M:%S.%f')",
}


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def listed(paths):
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


def lake_rows(asked):
    """SQL for the rows that the lake's events leave."""
    def image(prefix):
        return ", ".join(
            f"{SHOWN[kind].format(prefix + quoted(name))} AS {quoted(name)}" for name, kind in asked["columns"]
        )

    if asked["key"]:
        key = ", ".join(quoted(name) for name in asked["key"])
        return (
            f"SELECT {image('')} FROM events SEMI JOIN (SELECT max(_seq) AS newest FROM events WHERE _seq > "
            f"(SELECT coalesce(max(_seq), -1) FROM events WHERE _op = 't') AND _op <> 't' GROUP BY {key}) "
            "ON _seq = newest WHERE _op <> 'd'"
        )
    names = ", ".join(quoted(name) for name, _ in asked["columns"])
    since = "_seq > (SELECT coalesce(max(_seq), -1) FROM events WHERE _op = 't')"
    return (
        f"WITH weighed AS (SELECT 1 AS weight, {image('')} FROM events WHERE {since} AND _op IN ('c', 'u', 'r') "
        f"UNION ALL SELECT -1, {image('')} FROM events WHERE {since} AND _op = 'd' "
        f"UNION ALL SELECT -1, {image('_before.')} FROM events WHERE {since} AND _op = 'u'), "
        f"bag AS (SELECT {names}, sum(weight) AS times FROM weighed GROUP BY ALL) "
        f"SELECT {names} FROM bag, range(CASE WHEN times > 0 THEN times ELSE 0 END::BIGINT)"
    )


def compare(connection, asked):
    source = (
        f"read_csv('{asked['source']}', header = false, delim = '\t', quote = '', escape = '', nullstr = '\\N', "
        f"all_varchar = true, auto_detect = false, columns = "
        + "{" + ", ".join("'" + name.replace("'", "''") + "': 'VARCHAR'" for name, _ in asked["columns"]) + "})"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE source AS SELECT * FROM {source}")
    if not asked["files"]:
        rows = connection.execute("SELECT count(*) FROM source").fetchone()[0]
        return {"ops": {}, "wrong": rows, "shown": ["the table is not in the lake"] if rows else []}
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW events AS SELECT * FROM "
        f"read_parquet({listed(asked['files'])}, union_by_name = true, hive_partitioning = false)"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE lake AS {lake_rows(asked)}")
    ops = dict(connection.execute("SELECT _op, count(*) FROM events GROUP BY 1").fetchall())
    # How many more of each row the source has than the lake; fewer are negative.
    different = (
        "SELECT sum(_weight) AS _more, * EXCLUDE (_weight) FROM (SELECT 1 AS _weight, * FROM source "
        "UNION ALL SELECT -1, * FROM lake) GROUP BY ALL HAVING sum(_weight) <> 0"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE different AS {different}")
    wrong = connection.execute("SELECT coalesce(sum(abs(_more)), 0)::BIGINT FROM different").fetchone()[0]
    shown = connection.execute("SELECT * FROM different ORDER BY ALL LIMIT 6").fetchall()
    shown += connection.execute("SELECT * FROM different ORDER BY _more DESC LIMIT 6").fetchall()
    return {"ops": ops, "wrong": wrong, "shown": [str(row) for row in shown]}


def main():
    asked = json.load(sys.stdin)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET memory_limit = '4GB'")
    answer = {"tables": {table["table"]: compare(connection, table) for table in asked["tables"]}}
    numbers = (0, 0, None, None)
    if asked["all_files"]:
        # One file at a time: files of different tables have nothing in common but these columns.
        connection.execute("CREATE TEMP TABLE numbers (n BIGINT)")
        for path in asked["all_files"]:
            connection.execute(f"INSERT INTO numbers SELECT _seq FROM read_parquet({listed([path])})")
        numbers = connection.execute("SELECT count(n), count(DISTINCT n), min(n), max(n) FROM numbers").fetchone()
    answer["numbers"] = dict(zip(("count", "distinct", "first", "last"), numbers))
    print(json.dumps(answer))


main()
