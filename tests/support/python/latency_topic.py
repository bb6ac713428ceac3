"""Reads COUNT committed records of a topic as they come and prints p50 and p99 of the time since their commit on the
source: latency_topic.py BROKERS TOPIC COUNT."""
import json
import sys
import time

from confluent_kafka import Consumer, TopicPartition, OFFSET_BEGINNING

brokers, topic, count = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": brokers, "group.id": "latency", "isolation.level": "read_committed",
    "enable.auto.commit": False, "fetch.wait.max.ms": 10,
})
numbers = consumer.list_topics(topic, 60).topics[topic].partitions
consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
took = []
while len(took) < int(count):
    records = consumer.consume(1000, 0.01)
    now = time.time()
    for record in records:
        if record.error() is not None:
            sys.exit(str(record.error()))
        if record.value() is not None:
            took.append(now - json.loads(record.value())["source"]["ts_us"] / 1e6)
consumer.close()
# The first record was there before the reader was.
took = sorted(took[1:])
print(f"p50 {took[len(took) // 2] * 1e3:.0f}  p99 {took[len(took) * 99 // 100] * 1e3:.0f}", end="")
