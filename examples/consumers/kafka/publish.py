"""Publishes so many payments to a Kafka topic.

usage: publish.py BOOTSTRAP_SERVERS COUNT
"""
import json
import sys

from confluent_kafka import Producer

servers, count = sys.argv[1], int(sys.argv[2])
delivered = 0


def on_delivery(error, message):
    global delivered
    if error:
        sys.exit(str(error))
    delivered += 1


# without idempotence a producer's own retries would be messages of their own
producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
for number in range(1, count + 1):
    account = number % 100
    payment = {"id": f"payment-{number}", "account": account, "amount": f"{number}.25"}
    producer.produce(
        "payments", json.dumps(payment), key=str(account), on_delivery=on_delivery
    )
    producer.poll(0)
producer.flush()
print(f"{delivered} published")
