"""Prints what a plain consumer sees of a topic, as JSON lines: consume.py BROKERS TOPIC ISOLATION [REGISTRY [latest]].

With `unread` for REGISTRY, keys and values are left out. With REGISTRY, keys and values are read by confluent-kafka's Avro deserializer: by the schema that each record names, or,
with `latest`, by the newest one of the topic's subjects, as a consumer does that was built with it. Else they are JSON.
"""
import base64
import json
import sys

from confluent_kafka.serialization import MessageField, SerializationContext

from records import records


def reader_of(field):
    """Reads keys or values."""
    if registry == "unread":
        return lambda data: None
    if registry is None:
        return lambda data: None if data is None else json.loads(data)
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer

    client = SchemaRegistryClient({"url": registry})
    schema = client.get_latest_version(f"{topic}-{field}").schema.schema_str if latest else None
    deserializer = AvroDeserializer(client, schema)
    return lambda data: deserializer(data, SerializationContext(topic, field))


def plain(value):
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


brokers, topic, isolation, registry, latest = (sys.argv[1:] + [None, None])[:5]
keys, values = reader_of(MessageField.KEY), reader_of(MessageField.VALUE)
seen = []
for record in records(brokers, isolation, [topic]):
    schema = None if registry in (None, "unread") or record.value() is None else int.from_bytes(record.value()[1:5], "big")
    seen.append({
        "partition": record.partition(), "offset": record.offset(), "schema": schema,
        "key": keys(record.key()), "value": values(record.value()),
        "headers": {name: value.decode() for name, value in record.headers() or []},
    })
for record in sorted(seen, key=lambda record: (record["partition"], record["offset"])):
    print(json.dumps(record, default=plain))
