"""Publishes so many payments to a durable RabbitMQ queue.

usage: publish.py AMQP_URL COUNT
"""
import json
import sys

import pika

url, count = sys.argv[1], int(sys.argv[2])
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("payments", durable=True)
channel.confirm_delivery()
for number in range(1, count + 1):
    channel.basic_publish(
        exchange="",
        routing_key="payments",
        body=json.dumps({"account": number % 100, "amount": f"{number}.25"}),
        # the id is the publisher's: a payment published again has the same
        properties=pika.BasicProperties(message_id=f"payment-{number}", delivery_mode=2),
        mandatory=True,
    )
connection.close()
print(f"{count} published")
