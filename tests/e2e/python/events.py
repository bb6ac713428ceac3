"""Reads Parquet files with an independent reader and prints every change event, values in a plain form.

usage: events.py duckdb|pyarrow < tables.json > events.jsonl
stdin: [{"table": ["database", "table"], "files": ["path", ...]}, ...]
stdout: one line per table: {"table": [...], "columns": [name, ...], "rows": [[value, ...], ...]}, by `_seq`.

A value is null or a string with its kind in front, so that no two kinds can be taken for each other:
i: integer, b: boolean (0, 1), d: decimal, f: float32 bits, g: float64 bits, s: text, x: bytes,
D: days since 1970, T: microseconds since 1970 without zone, Z: the same in UTC, v: float32 bits of a list.
A struct `_before` gives the columns `_before.a`, `_before.b`, ...
"""
import json
import re
import struct
import sys


def float32(value):
    return struct.pack(">f", value).hex()


def plain(kind, value):
    if value is None:
        return None
    if kind in "iDTZ":
        return f"{kind}:{int(value)}"
    if kind == "b":
        return f"b:{int(value)}"
    if kind == "d":
        return "d:" + re.sub(r"^(-?)\.", r"\g<1>0.", value)  # DuckDB writes .9 for 0.9
    if kind == "f":
        return f"f:{float32(value)}"
    if kind == "g":
        return f"g:{struct.pack('>d', value).hex()}"
    if kind == "s":
        return f"s:{value}"
    if kind == "x":
        return f"x:{bytes(value).hex()}"
    if kind == "v":
        return "v:" + ",".join(float32(item) for item in value)
    raise ValueError(kind)


DUCKDB_KINDS = {
    "tinyint": "i", "smallint": "i", "integer": "i", "bigint": "i", "boolean": "b", "decimal": "d",
    "float": "f", "double": "g", "varchar": "s", "blob": "x", "date": "D", "timestamp": "T",
    "timestamp with time zone": "Z", "list": "v",
}


def duckdb_columns(names, types):
    """(name, SQL expression, kind) of every column, structs taken apart."""
    for name, kind in zip(names, types):
        quoted = '"' + name.replace('"', '""') + '"'
        if kind.id == "struct":
            for child, child_kind in kind.children:
                path = quoted + '."' + child.replace('"', '""') + '"'
                yield f"{name}.{child}", path, DUCKDB_KINDS[child_kind.id]
        else:
            yield name, quoted, DUCKDB_KINDS[kind.id]


def read_duckdb(files):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    paths = "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in files) + "]"
    source = f"read_parquet({paths}, union_by_name = true, hive_partitioning = false)"
    relation = connection.sql(f"SELECT * FROM {source}")
    columns = list(duckdb_columns(relation.columns, relation.types))
    shown = {
        "D": "({} - DATE '1970-01-01')", "T": "epoch_us({})", "Z": "epoch_us({})", "d": "CAST({} AS VARCHAR)",
    }
    expressions = ", ".join(shown.get(kind, "{}").format(path) for _, path, kind in columns)
    rows = connection.execute(f"SELECT {expressions} FROM {source} ORDER BY _seq").fetchall()
    kinds = [kind for _, _, kind in columns]
    return [name for name, _, _ in columns], [[plain(k, v) for k, v in zip(kinds, row)] for row in rows]


def arrow_values(column):
    """Plain values of a pyarrow column."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        letter = "b"
    elif pa.types.is_integer(kind):
        letter = "i"
    elif pa.types.is_decimal(kind):
        return [None if v is None else f"d:{v:f}" for v in column.to_pylist()]
    elif pa.types.is_float32(kind):
        letter = "f"
    elif pa.types.is_float64(kind):
        letter = "g"
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        letter = "s"
    elif pa.types.is_dictionary(kind):
        return arrow_values(column.cast(kind.value_type))
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        letter = "x"
    elif pa.types.is_date32(kind):
        letter, column = "D", column.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        if kind.unit != "us":
            raise TypeError(f"timestamp in {kind.unit}")
        letter, column = "TZ"[kind.tz is not None], column.cast(pa.int64())
    elif pa.types.is_list(kind):
        letter = "v"
    else:
        raise TypeError(str(kind))
    return [plain(letter, value) for value in column.to_pylist()]


def read_pyarrow(files):
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    # A dataset over the files of all versions, under the schema that holds each of them.
    schemas = [pq.ParquetFile(path).schema_arrow for path in files]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    table = ds.dataset(files, schema=schema, format="parquet").to_table().sort_by("_seq")
    names, columns = [], []
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_struct(column.type):
            for index in range(column.type.num_fields):
                names.append(f"{name}.{column.type.field(index).name}")
                columns.append(arrow_values(pa.compute.struct_field(column, index)))
        else:
            names.append(name)
            columns.append(arrow_values(column))
    return names, [list(row) for row in zip(*columns)]


def main():
    read = {"duckdb": read_duckdb, "pyarrow": read_pyarrow}[sys.argv[1]]
    if sys.argv[1] == "pyarrow":
        import pyarrow.compute  # noqa: F401  (makes pa.compute available)
    for entry in json.load(sys.stdin):
        columns, rows = read(entry["files"])
        print(json.dumps({"table": entry["table"], "columns": columns, "rows": rows}))


main()
