"""A payment provider that charges nobody, as a process of its own.

    provider.py [--port PORT] [--journal FILE] [--delay SECONDS]

POST /charges {"amount": "17.80", "card": "tok_visa"} with an Idempotency-Key: 201 and a charge, the
same to the same key; 422 to another request with the key.  The card tok_declined is declined.  What
it has charged stands in its journal, a line a charge, before it answers; it reads that when it starts.
"""

import argparse
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Journal:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.entries = {}
        self.file = open(path, "a+b")
        self.file.seek(0)
        whole = 0
        for line in self.file:
            if not line.endswith(b"\n"):    # it was killed while it wrote this one, and has not answered
                break
            whole += len(line)
            entry = json.loads(line)
            self.entries[entry["key"]] = entry
        self.file.truncate(whole)

    def charge(self, key, request):
        """The entry of a key, and whether it was there."""
        with self.lock:
            if key in self.entries:
                return self.entries[key], True
            entry = {"key": key, "request": request, "charge": f"ch_{len(self.entries) + 1:06d}"}
            if request["card"] == "tok_declined":
                entry["charge"] = None
            self.file.write(json.dumps(entry).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self.entries[key] = entry
            return entry, False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        key = self.headers.get("Idempotency-Key")
        try:
            request = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), 65536)))
            amount, card = str(request["amount"]), str(request["card"])
        except (KeyError, TypeError, ValueError):
            return self.answer(400, {"error": "a charge has an amount and a card"})
        if self.path != "/charges" or not key:
            return self.answer(400, {"error": "POST /charges, with an Idempotency-Key"})
        entry, known = self.server.journal.charge(key, {"amount": amount, "card": card})
        time.sleep(self.server.delay)
        if entry["request"] != {"amount": amount, "card": card}:
            return self.answer(422, {"error": "the key was used for another charge"})
        if entry["charge"] is None:
            return self.answer(402, {"error": "declined"})
        self.answer(200 if known else 201, {"charge": entry["charge"], "amount": amount})

    def log_message(self, *arguments):
        pass


class Provider(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that has gone away will ask again."""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--journal", default="charges.jsonl")
    parser.add_argument("--delay", type=float, default=0)
    options = parser.parse_args()
    server = Provider(("127.0.0.1", options.port), Handler)
    server.journal = Journal(options.journal)
    server.delay = options.delay
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


main()
