"""idem_check: runs a statement twice, says what the second run did, and leaves nothing behind."""

import layout
from model import Refused

from . import keyed, keys, messages
from .base import Call, boolean, literal, pick

COMMANDS = {
    "write": "UPDATE {table} SET n = $1 WHERE id = $2 RETURNING n",
    "add": "UPDATE account SET balance = balance + $1 WHERE id = $2 RETURNING balance",
}


def is_refused(view, p):
    """Is the second run refused?  It heeds what was defined while the first waited."""
    if p["kind"] in COMMANDS:
        return False
    defined = view.current(("scope", p["call"].get("scope") or "") if p["kind"] == "upsert" else
                           ("consumer", p["call"]["consumer"]))
    return defined is not None and not keyed.is_ours(view, defined["owner"])


class Check(Call):
    name = "check"
    weight = 8
    columns = "tttt"

    @staticmethod
    def generate(rng):
        kind = rng.choice(("write", "add", "upsert", "consume"))
        p = {"kind": kind}
        if kind in COMMANDS:
            p.update(table=rng.choice(("plain", "doc", "job")) if kind == "write" else "account",
                     id=rng.randint(1, keys.ROWS), n=rng.randint(1, 3))
        else:
            p["call"] = (keys.Upsert if kind == "upsert" else messages.Consume).generate(rng)
            p["call"]["key"] = p["call"].get("key") or "u1"
        return p

    @staticmethod
    def sql(p):
        params = "[]"
        if p["kind"] in COMMANDS:
            command, params = COMMANDS[p["kind"]].format(**p), f"[{p['n']}, {p['id']}]"
        elif p["kind"] == "upsert":
            command = f"SELECT outcome FROM {keys.Upsert.call(p['call'])}"
        else:
            command = messages.Consume.sql(p["call"])
        return ("SELECT idempotent, same_answer, jsonb_array_length(differences), rewritten"
                f" FROM idem_check({literal(command)}, '{params}')")

    @staticmethod
    def expect(view, p):
        same, differences, rewritten = True, 0, 0
        if p["kind"] in COMMANDS:
            row = view.found((p["table"], p["id"]))
            if row is not None:
                same = p["kind"] == "write"
                differences = int(p["table"] in (*keys.VERSIONED, "account"))
                rewritten = 1 - differences
        elif p["kind"] == "upsert":
            try:
                keys.Upsert.expect(view, p["call"])
            except Refused as refused:
                # or it is in progress, both times
                rows = [["f", "f", "0", "0"]] if is_refused(view, p) else [["t", "t", "0", "0"]]
                raise Refused(*refused.states, rows=refused.rows and rows) from None
        else:
            same = messages.Consume.expect(view, p["call"]) == [["f"]]
        refused = is_refused(view, p)
        view.undo()
        late = p["kind"] == "consume" and p["call"].get("old") and messages.is_late(view, p["call"]["consumer"])
        # what is late has only read, and perhaps nothing was written before
        if layout.routed():
            rows = [["t", "t", "0", "0"]] if late and same and not differences else None
            raise Refused("0A000", rows=rows)
        if refused:
            return [["f", "f", "0", "0"]]
        return [[boolean(not differences), boolean(same), str(differences), str(rewritten)]]


CALLS = (Check,)
