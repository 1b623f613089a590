#!/usr/bin/env python3
"""A carrier that fails at random, before and after it has taken a parcel.

It is not ours, so it has no barrier; but it heeds an Idempotency-Key, and answers a
second request with the same key as it answered the first.

    carrier.py PORT_FILE [SEED]     serves on a port that it writes there
"""

import http.server
import json
import os
import random
import sys
import threading

parcels = {}                        # by key
requests = 0
lock = threading.Lock()
chance = random.Random(sys.argv[2] if len(sys.argv) > 2 else None)


class Carrier(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        global requests
        length = int(self.headers.get("Content-Length", 0))
        order = json.loads(self.rfile.read(length))["order"]
        key = self.headers["Idempotency-Key"]
        with lock:
            requests += 1
            fate = chance.random()
            if fate < 0.2:
                return self.answer(503, {"error": "closed"})
            parcel = parcels.setdefault(key, {"parcel": len(parcels) + 1, "order": order})
        if fate < 0.4:
            self.close_connection = True    # it has the parcel, and says nothing
            return None
        return self.answer(200, parcel)

    def do_GET(self):
        with lock:
            self.answer(200, {"requests": requests, "parcels": list(parcels.values())})

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Carrier)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
