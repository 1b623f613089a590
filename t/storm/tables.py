"""What is in the tables, as the model has it."""

import json

import layout
from calls import keyed
from calls.base import public, tidy, trimmed
from calls.keys import told


def there(server, state):
    """Of each table its name, what the model has of it, and what is there."""
    for table, key in (("doc", "id"), ("plain", "id"), ("named", "code"), ("job", "id"), ("ticket", "id"),
                       ("account", "id")):
        expected = {item[1]: public(row) for item, row in state.items() if item[0] == table}
        rows = [tidy(json.loads(j)) for (j,) in server.rows(f"SELECT to_jsonb(t) FROM {table} AS t")]
        yield table, expected, {row[key]: row for row in rows}

    yield "idem_key", {item[1:]: key_row(row) for item, row in state.items() if item[0] == "key"}, {
        (scope, key): (outcome, expired == "t", fence, role, lease)
        for scope, key, outcome, expired, fence, role, lease in server.rows(
            "SELECT scope, key, outcome, expires_at <= now(), fence, claimed_by,"
            " CASE WHEN lease_until > '-infinity' THEN lease_until > now() END"
            f" FROM {layout.keys()} AS k WHERE key NOT LIKE 'begun %'")}
    yield "idem_lookup()", {item[1:]: told(row) for item, row in state.items()
                            if item[0] == "key" and not row["expired"] and comparable(row)}, {
        (scope, key): [outcome, tidy(json.loads(response)) if response else None, fence,
                       tidy(json.loads(request)) if request else None]
        for scope, key, outcome, response, fence, request in server.rows(
            f"SELECT k.scope, k.key, l.outcome, {trimmed('l.response')}, l.fence, l.request"
            f" FROM {layout.keys()} AS k, idem_lookup(k.key, k.scope) AS l WHERE k.expires_at > now() AND key NOT LIKE 'begun %'")
        if comparable(state.get(("key", scope, key), {"fp": None}))}
    yield "idem_message", {item[1:]: row["expired"] for item, row in state.items() if item[0] == "message"}, {
        (consumer, message): expired == "t" for consumer, message, expired in server.rows(
            "SELECT consumer, message_id, expires_at <= now() FROM idem_message")}
    yield "idem_scope", {item[1]: row["owner"] for item, row in state.items() if item[0] == "scope"}, dict(
        server.rows("SELECT scope, owner FROM idem_scope"))
    yield "idem_consumer", {item[1]: (row["owner"], row["ttl"], row["late"]) for item, row in state.items()
                            if item[0] == "consumer"}, {
        consumer: tuple(definition) for consumer, *definition in server.rows(
            "SELECT consumer, owner, ttl, late FROM idem_consumer")}
    yield "idem_offset", {item[1]: (row["next"], row["first"], row["epoch"]) for item, row in state.items()
                          if item[0] == "offset"}, {
        int(part): (int(next_), int(first), int(epoch) if epoch else None)
        for part, next_, first, epoch in server.rows(
            'SELECT "partition", next_offset, first_offset, epoch FROM idem_offset')}
    yield "idem_saga", {item[1]: (row["status"], ",".join(state[("steps", item[1])]))
                        for item, row in state.items() if item[0] == "saga"}, {
        saga: (status, steps) for saga, status, steps in server.rows(
            "SELECT saga, s.status, string_agg(k.status::text, ',' ORDER BY step)"
            " FROM idem_saga AS s JOIN idem_saga_step AS k USING (saga, scope) GROUP BY 1, 2")}
    # by version, as a row that was deleted and inserted anew has some twice
    yield "idem_history", {item[1:]: sorted(map(list, entries), key=lambda entry: int(entry[0]))
                           for item, entries in state.items() if item[0] == "history"}, history(server)


def comparable(row):
    """Does idem_lookup() show the response as the call gave it?"""
    return row["fp"] is None or row["fp"][0] in ("upsert", "claim")


def key_row(row):
    lease = ("f" if row["lapsed"] else "t") if row["leased"] else None
    return row["outcome"], row["expired"], str(row["fence"]), row["role"], lease


def history(server):
    found = {}
    for table, number, *entry in server.rows(
            "SELECT target::regclass::text, row_key->>'id', version, from_state, to_state, key, scope, note"
            " FROM idem_history WHERE row_key ? 'id' ORDER BY target, row_key, version, changed_at, id"):
        entry[-1] = json.loads(entry[-1]) if entry[-1] is not None else None
        found.setdefault((table, int(number)), []).append(entry)
    return found
