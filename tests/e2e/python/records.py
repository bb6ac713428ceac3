"""The records of topics, by Python's client: from the beginning to the end that each topic partition has."""
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition, OFFSET_BEGINNING


def records(brokers, isolation, topics):
    """All of them, in the order in which they come."""
    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": "plain", "isolation.level": isolation,
        "enable.auto.commit": False, "enable.partition.eof": True,
    })
    places = [
        TopicPartition(topic, number, OFFSET_BEGINNING)
        for topic in topics for number in consumer.list_topics(topic, 60).topics[topic].partitions
    ]
    consumer.assign(places)
    ended = set()
    while len(ended) < len(places):
        record = consumer.poll(60)
        if record is None:
            sys.exit("no record and no end")
        if record.error() is None:
            yield record
        elif record.error().code() == KafkaError._PARTITION_EOF:
            ended.add((record.topic(), record.partition()))
        else:
            sys.exit(str(record.error()))
    consumer.close()
