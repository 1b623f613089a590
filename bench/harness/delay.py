"""A server that is some way off: its socket again, behind which all takes a while.

A process of its own takes connections on a socket of the same name in another
directory, and hands on what comes in on either side half a round trip later.  That is
what a network does to a client that waits for each answer before it sends the next
message, as all of these do.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time


def hand_on(source, sink, seconds):
    """From one side to the other, until the first ends."""
    try:
        while data := source.recv(65536):
            time.sleep(seconds)
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(path, target, seconds):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(target)
        for ends in ((near, far), (far, near)):
            threading.Thread(target=hand_on, args=(*ends, seconds), daemon=True).start()


class Delay:
    """That process; host is what libpq is to connect to."""

    def __init__(self, milliseconds):
        name = f".s.PGSQL.{os.environ.get('PGPORT', '5432')}"
        self.directory = tempfile.TemporaryDirectory(dir=os.environ.get("PLACE"))
        self.host = self.directory.name
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), f"{self.host}/{name}",
             f"{os.environ['PGHOST']}/{name}", str(milliseconds / 2000)],
            stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the delayed socket does not listen")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.directory.cleanup()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], float(sys.argv[3]))
