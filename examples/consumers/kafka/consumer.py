"""Books the payments of a Kafka topic, each exactly once.

usage: consumer.py BOOTSTRAP_SERVERS

The variables of libpq (PGHOST, PGDATABASE, ...) lead to the database.

Kafka delivers again what lies after the offset committed to it. Here the offset
that counts is in the database: idem_advance moves it in the transaction that
books the payments, and idem_offset tells where to go on. Errors are not handled:
they end the program, its supervisor starts it again, and Kafka delivers again.
"""
import json
import os
import struct
import sys

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import faults  # for the test alone

GROUP = TOPIC = "payments"
BATCH = 100
COMMIT_EVERY = 6  # batches


def generation(consumer):
    """The group's generation, which rises with every rebalance.  This client
    gives it only inside of what it writes for transactions."""
    metadata = consumer.consumer_group_metadata()
    magic = b"CGMDv2:"
    if not metadata.startswith(magic):
        raise RuntimeError(f"the generation is not known of {metadata}")
    return struct.unpack_from("=i", metadata, len(magic))[0]


def on_assign(consumer, partitions):
    global epoch
    epoch = generation(consumer)
    for partition in partitions:
        (offset,) = database.execute(
            "SELECT idem_offset(%s, %s, %s)", (GROUP, TOPIC, partition.partition)
        ).fetchone()
        # left out by half of the consumers of the test: Kafka's offset will do,
        # but from there messages are delivered again
        if offset is not None and "FORGET_OFFSETS" not in os.environ:
            partition.offset = offset
    consumer.assign(partitions)


def batches(consumer):
    """Yields the messages that have arrived, BATCH at most, by partition."""
    while True:
        batch = {}
        for message in consumer.consume(BATCH, timeout=0.5):
            if message.error():
                raise KafkaException(message.error())
            batch.setdefault(message.partition(), []).append(message)
            print("delivered", f"{message.partition()}/{message.offset()}")
        if batch:
            sys.stdout.flush()
            yield batch
        else:
            print("idle", flush=True)


def book(batch):
    """Books those of the batch that have not been."""
    with database.transaction(), database.cursor() as cursor:
        # sorted, so that two transactions do not wait for each other
        for partition, messages in sorted(batch.items()):
            cursor.execute(
                "SELECT idem_advance(%s, %s, %s, %s, %s, epoch => %s)",
                (GROUP, TOPIC, partition, messages[0].offset(), messages[-1].offset(), epoch),
            )
            (first,) = cursor.fetchone()
            if first is None:
                continue
            new = [json.loads(m.value()) for m in messages if m.offset() >= first]
            cursor.executemany(
                "INSERT INTO payments (id, account, amount)"
                " VALUES (%(id)s, %(account)s, %(amount)s)",
                new,
            )


database = psycopg.connect("", autocommit=True)
consumer = Consumer(
    {
        "bootstrap.servers": sys.argv[1],
        "group.id": GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,  # what is consumed is not yet booked
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 4000,
        "heartbeat.interval.ms": 500,
    }
)
consumer.subscribe([TOPIC], on_assign=on_assign)

for number, batch in enumerate(batches(consumer), 1):
    faults.pause_perhaps()
    try:
        book(batch)
    except psycopg.Error as error:
        if error.sqlstate == "ID002":  # the partition is another's by now
            print("fenced", flush=True)
        raise
    print("booked", flush=True)
    faults.die_perhaps()
    consumer.store_offsets(offsets=[
        TopicPartition(TOPIC, partition, messages[-1].offset() + 1)
        for partition, messages in batch.items()
    ])
    if number % COMMIT_EVERY == 0:
        # for those who watch the group's lag; nothing depends on it
        consumer.commit(asynchronous=True)
