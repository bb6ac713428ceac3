"""Prints the committed records of topics of Avro with their schemas, as JSON lines: avro.py BROKERS REGISTRY TOPIC….

Values are what the bytes say: logical types are not applied, bytes are in base64.
"""
import base64
import io
import json
import sys

from confluent_kafka.schema_registry import SchemaRegistryClient
from fastavro import parse_schema, schemaless_reader

from records import records

brokers, registry, *topics = sys.argv[1:]
client = SchemaRegistryClient({"url": registry})
schemas = {}


def physical(schema):
    if isinstance(schema, list):
        return [physical(part) for part in schema]
    if isinstance(schema, dict):
        return {name: physical(part) for name, part in schema.items() if name != "logicalType"}
    return schema


def whole(data):
    if data is None:
        return None
    number = int.from_bytes(data[1:5], "big")
    if number not in schemas:
        schema = json.loads(client.get_schema(number).schema_str)
        schemas[number] = schema, parse_schema(physical(schema))
    schema, parsed = schemas[number]
    body = io.BytesIO(data[5:])
    payload = schemaless_reader(body, parsed)
    if body.read():
        sys.exit("bytes are left")
    return {"schema": schema, "payload": payload}


for record in records(brokers, "read_committed", topics):
    told = {
        "topic": record.topic(), "key": whole(record.key()), "value": whole(record.value()),
        "headers": {name: value.decode() for name, value in record.headers() or []},
    }
    print(json.dumps(told, default=lambda value: base64.b64encode(value).decode()))
