"""Books the payments of a RabbitMQ queue, each exactly once.

usage: consumer.py AMQP_URL

The variables of libpq (PGHOST, PGDATABASE, ...) lead to the database.

RabbitMQ delivers again what was not acknowledged. So a batch of messages is
booked in one transaction, in which idem_consume_batch says which of them are new, and
is acknowledged once that has committed. Errors are not handled: they end the
program, its supervisor starts it again, and RabbitMQ delivers again.
"""
import json
import os
import sys

import pika
import psycopg

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import faults  # for the test alone

QUEUE = "payments"
BATCH = 100


def batches(channel):
    """Yields the messages that have arrived, BATCH at most, by their ids, and
    the tag of the last one.  Does not wait for a batch to be full."""
    batch, tag = {}, None
    for method, properties, body in channel.consume(QUEUE, inactivity_timeout=0.2):
        if method is None:
            if tag is None:
                print("idle", flush=True)
                continue
        elif not properties.message_id:
            # could not be told from another one: for the dead-letter exchange
            channel.basic_reject(method.delivery_tag, requeue=False)
            continue
        else:
            tag = method.delivery_tag
            # one that is there twice, published twice, say, is booked once
            batch[properties.message_id] = json.loads(body)
            print("delivered", properties.message_id, int(method.redelivered))
            if len(batch) < BATCH:
                continue
        sys.stdout.flush()
        yield batch, tag
        batch, tag = {}, None


def book(database, batch):
    """Books those of the batch that have not been."""
    with database.transaction(), database.cursor() as cursor:
        # all of them count as consumed from here on, so all that come back are booked
        cursor.execute(
            "SELECT * FROM idem_consume_batch('payments', %s)", (list(batch),)
        )
        new = [row[0] for row in cursor]
        cursor.executemany(
            "INSERT INTO payments (id, account, amount) VALUES (%s, %s, %s)",
            [(id, batch[id]["account"], batch[id]["amount"]) for id in new],
        )


database = psycopg.connect("", autocommit=True)
broker = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = broker.channel()
channel.queue_declare(QUEUE, durable=True)
channel.basic_qos(prefetch_count=2 * BATCH)  # a batch at work, and the next one

for batch, tag in batches(channel):
    book(database, batch)
    print("booked", flush=True)
    faults.die_perhaps()
    channel.basic_ack(tag, multiple=True)
