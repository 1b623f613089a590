"""Connections through libpq, by way of ctypes: many sessions that one thread looks after.

A statement is sent and its answer fetched when it is there, so that a session may be
blocked while others go on.
"""

import ctypes
import ctypes.util
import os
import select
import subprocess

LOST = "lost"                   # in place of an SQLSTATE: the connection is gone


def _load():
    names = ["libpq.so.5", "libpq.5.dylib", ctypes.util.find_library("pq")]
    try:
        libdir = subprocess.run(["pg_config", "--libdir"], capture_output=True, text=True).stdout.strip()
        names = [os.path.join(libdir, name) for name in names[:2]] + names
    except OSError:
        pass
    for name in filter(None, names):
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    raise RuntimeError("libpq was not found")


_pq = _load()
_p, _i, _s = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
for _name, _result, _arguments in (
        ("PQconnectdb", _p, [_s]), ("PQstatus", _i, [_p]), ("PQbackendPID", _i, [_p]),
        ("PQerrorMessage", _s, [_p]), ("PQfinish", None, [_p]), ("PQsocket", _i, [_p]),
        ("PQsendQuery", _i, [_p, _s]),
        ("PQsendQueryParams", _i, [_p, _s, _i, _p, _p, _p, _p, _i]),
        ("PQconsumeInput", _i, [_p]), ("PQisBusy", _i, [_p]), ("PQgetResult", _p, [_p]),
        ("PQresultStatus", _i, [_p]), ("PQresultErrorField", _s, [_p, _i]),
        ("PQresultErrorMessage", _s, [_p]), ("PQcmdStatus", _s, [_p]),
        ("PQntuples", _i, [_p]), ("PQnfields", _i, [_p]), ("PQclear", None, [_p]),
        ("PQgetvalue", _s, [_p, _i, _i]), ("PQgetisnull", _i, [_p, _i, _i])):
    _function = getattr(_pq, _name)
    _function.restype, _function.argtypes = _result, _arguments

_receiver = ctypes.CFUNCTYPE(None, _p, _p)
_ignore = _receiver(lambda argument, notice: None)      # what is said to nobody's question
_pq.PQsetNoticeReceiver.restype, _pq.PQsetNoticeReceiver.argtypes = _p, [_p, _receiver, _p]

PGRES_FATAL_ERROR = 7
SQLSTATE = ord("C")


class Answer:
    """What came of a statement: its SQLSTATE, and its rows or the error's text."""

    def __init__(self, state, rows=(), tag="", message=""):
        self.state, self.rows, self.tag, self.message = state, rows, tag, message

    @property
    def ok(self):
        return self.state == "00000"

    def __str__(self):
        if self.ok:
            return " ".join("|".join("" if v is None else v for v in row) for row in self.rows) or self.tag
        return f"{self.state} {self.message.splitlines()[0] if self.message else ''}"


class Connection:
    """One session.  At most one statement is under way in it."""

    def __init__(self, conninfo, user="", simple=True):
        self.conninfo, self.user, self.simple = conninfo, user, simple
        self.busy, self.conn, self.pid, self.last_pid = False, None, 0, 0

    def connect(self):
        self.close()
        info = self.conninfo
        if self.user:
            info += f" user={self.user}"
        self.conn = _pq.PQconnectdb(f"{info} options='-c client_min_messages=error'".encode())
        if _pq.PQstatus(self.conn) != 0:
            message = _pq.PQerrorMessage(self.conn).decode(errors="replace").strip()
            self.close()
            return message
        _pq.PQsetNoticeReceiver(self.conn, _ignore, None)
        self.pid = self.last_pid = _pq.PQbackendPID(self.conn)
        return None

    def close(self):
        if self.conn:
            _pq.PQfinish(self.conn)
        self.conn, self.busy, self.pid = None, False, 0

    def fileno(self):
        return _pq.PQsocket(self.conn)

    def send(self, sql):
        self.busy = True
        if self.simple:
            sent = _pq.PQsendQuery(self.conn, sql.encode())
        else:
            sent = _pq.PQsendQueryParams(self.conn, sql.encode(), 0, None, None, None, None, 0)
        self.unsent = not sent

    def poll(self):
        """The answer, or None as long as it is not there."""
        if self.unsent or not _pq.PQconsumeInput(self.conn):
            # an error that came before the connection was lost would not help
            return self._lost()
        if _pq.PQisBusy(self.conn):
            return None
        answer = None
        while True:
            result = _pq.PQgetResult(self.conn)
            if not result:
                break
            read = self._read(result)
            # of several statements in one, the error counts, or else the last
            answer = read if answer is None or answer.ok else answer
            _pq.PQclear(result)
        self.busy = False
        if answer is None or _pq.PQstatus(self.conn) != 0:
            return self._lost(answer)
        return answer

    def _lost(self, answer=None):
        message = answer.message if answer else _pq.PQerrorMessage(self.conn).decode(errors="replace").strip()
        self.close()
        return Answer(LOST, message=message)

    def _read(self, result):
        if _pq.PQresultStatus(result) == PGRES_FATAL_ERROR:
            state = _pq.PQresultErrorField(result, SQLSTATE)
            return Answer(state.decode() if state else LOST,
                          message=_pq.PQresultErrorMessage(result).decode(errors="replace").strip())
        rows = [tuple(None if _pq.PQgetisnull(result, r, c) else _pq.PQgetvalue(result, r, c).decode()
                      for c in range(_pq.PQnfields(result)))
                for r in range(_pq.PQntuples(result))]
        return Answer("00000", rows, _pq.PQcmdStatus(result).decode())

    def ask(self, sql):
        """Sends a statement and waits for its answer."""
        self.send(sql)
        while True:
            answer = self.poll()
            if answer is not None:
                return answer
            select.select([self], [], [], 10)

    def value(self, sql):
        answer = self.ask(sql)
        if not answer.ok:
            raise RuntimeError(f"{answer} at {sql}")
        return answer.rows[0][0] if answer.rows else None


def wait(connections, seconds):
    """Waits until one of the connections can be read."""
    ready = [c for c in connections if c.conn]
    if ready:
        select.select(ready, [], [], seconds)
