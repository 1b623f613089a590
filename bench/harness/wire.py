"""A client that speaks PostgreSQL's protocol, for one socket and one statement at a time.

It sends what drivers send, a parameter as text with the type left to the server,
and knows when to leave out Parse: what a call costs in the server depends on that.
"""

import socket
import struct


def message(kind, *parts):
    body = b"".join(parts)
    return kind + struct.pack("!i", len(body) + 4) + body


def string(text):
    return text.encode() + b"\0"


class Session:
    def __init__(self, directory, port=5432, user="postgres", database="postgres"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{directory}/.s.PGSQL.{port}")
        self.stream = self.socket.makefile("rb")
        self.pid = None
        self.send(message(b"", struct.pack("!i", 196608), string("user"), string(user),
                          string("database"), string(database), b"\0"))
        self.answer()

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def answer(self):
        """The rows up to when the server is ready again, their columns as text."""
        rows, error = [], None
        while True:
            head = self.stream.read(5)
            if len(head) < 5:
                raise RuntimeError(f"the server has closed the connection: {error}")
            kind, length = struct.unpack("!ci", head)
            body = self.stream.read(length - 4)
            if kind == b"K":
                self.pid, = struct.unpack_from("!i", body)
            elif kind == b"E":
                error = body
            elif kind == b"D":
                rows.append(self.row(body))
            elif kind == b"Z":
                if error:
                    raise RuntimeError(error.replace(b"\0", b" ").decode())
                return rows

    @staticmethod
    def row(body):
        count, at, columns = *struct.unpack_from("!h", body), 2, []
        for _ in range(count):
            length, = struct.unpack_from("!i", body, at)
            at += 4
            columns.append(None if length < 0 else body[at:at + length].decode())
            at += max(length, 0)
        return columns

    def prepare(self, name, sql):
        self.send(self.parse(name, sql), message(b"S"))
        self.answer()

    @staticmethod
    def parse(name, sql):
        return message(b"P", string(name), string(sql), struct.pack("!h", 0))

    @staticmethod
    def run(name, values):
        values = [str(value).encode() for value in values]
        return (message(b"B", string(""), string(name), struct.pack("!hh", 0, len(values)),
                        *(struct.pack("!i", len(value)) + value for value in values),
                        struct.pack("!h", 0))
                + message(b"D", b"P", string("")) + message(b"E", string(""), struct.pack("!i", 0))
                + message(b"S"))

    def execute(self, name, values):
        """Runs a statement that was prepared."""
        self.send(self.run(name, values))
        return self.answer()

    def once(self, sql, values):
        """Runs a statement that is prepared for this time alone."""
        self.send(self.parse("", sql), self.run("", values))
        return self.answer()

    def simple(self, sql):
        self.send(message(b"Q", string(sql)))
        return self.answer()

    def close(self):
        self.send(message(b"X"))
        self.stream.read()
        self.socket.close()
