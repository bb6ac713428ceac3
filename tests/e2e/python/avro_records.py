"""Prints keys and values of a topic's committed records, read by confluent-kafka's Avro deserializer, as JSON:
avro_records.py BROKERS REGISTRY TOPIC."""
import json
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition, OFFSET_BEGINNING
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, topic = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": brokers, "group.id": "plain", "isolation.level": "read_committed",
    "enable.auto.commit": False, "enable.partition.eof": True,
})
read = AvroDeserializer(SchemaRegistryClient({"url": registry}))
key, value = (SerializationContext(topic, field) for field in (MessageField.KEY, MessageField.VALUE))
numbers = list(consumer.list_topics(topic, 60).topics[topic].partitions)
consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
seen, ended = [], set()
while len(ended) < len(numbers):
    record = consumer.poll(60)
    if record is None:
        sys.exit("no record and no end")
    if record.error() is None:
        seen.append({"key": read(record.key(), key), "value": read(record.value(), value)})
    elif record.error().code() == KafkaError._PARTITION_EOF:
        ended.add(record.partition())
    else:
        sys.exit(str(record.error()))
consumer.close()
print(json.dumps(seen, default=str))
