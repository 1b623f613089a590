"""A Kafka cluster to try things on: the one that librdkafka makes for its own
tests, in the memory of this process.

Says where it is on standard output, and lasts until it is killed.
"""
import signal

from confluent_kafka import Producer

cluster = Producer({"test.mock.num.brokers": 3, "log_level": 3})
brokers = cluster.list_topics("payments", 10).brokers.values()  # makes the topic, too
print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
signal.pause()
