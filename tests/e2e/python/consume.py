"""Prints topic partition and offset of each committed record of a topic, as JSON: consume.py BROKERS TOPIC."""
import json
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition, OFFSET_BEGINNING

brokers, topic = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": brokers, "group.id": "plain", "isolation.level": "read_committed",
    "enable.auto.commit": False, "enable.partition.eof": True,
})
numbers = list(consumer.list_topics(topic, 60).topics[topic].partitions)
consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
seen, ended = [], set()
while len(ended) < len(numbers):
    record = consumer.poll(60)
    if record is None:
        sys.exit("no record and no end")
    if record.error() is None:
        seen.append((record.partition(), record.offset()))
    elif record.error().code() == KafkaError._PARTITION_EOF:
        ended.add(record.partition())
    else:
        sys.exit(str(record.error()))
consumer.close()
print(json.dumps(sorted(seen)))
