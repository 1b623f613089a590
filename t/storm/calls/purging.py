"""idem_purge, and time that passes: keys and messages that expire, leases that run out."""

import layout

from . import keyed
from .base import Call, literal

# before any statement that may still be waiting began
PAST = "clock_timestamp() - interval '1 hour'"
# where there is a lease
LAPSED = f"CASE WHEN lease_until > '-infinity' THEN {PAST} ELSE lease_until END"

# A message that is consumed again has a new row, which an UPDATE that has waited for
# the former one does not see; another UPDATE does.
SCHEMA = f"""
CREATE FUNCTION expire_message(id text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    FOR try IN 1 .. 3 LOOP
        RETURN QUERY UPDATE idem_message SET expires_at = {PAST}
            WHERE consumer = 'one' AND message_id = id RETURNING message_id;
        EXIT WHEN FOUND;
    END LOOP;
END $$;
"""


class Expire(Call):
    """The time of a key is over."""

    name = "expire"
    weight = 10
    where = "super"

    @staticmethod
    def generate(rng):
        return keyed.choose_key(rng, rng.choice("uuxccptb"), {})

    @staticmethod
    def sql(p):
        return (f"UPDATE idem_key SET expires_at = {PAST}, lease_until = {LAPSED} WHERE key = {literal(p['key'])} AND scope = {literal(p.get('scope') or '')}"
                " RETURNING key")

    @staticmethod
    def expect(view, p):
        item = keyed.item_of(p)
        row = view.found(item, plain=True)
        if row is None:
            return []
        view.write(item, {**row, "expired": True, "lapsed": row["leased"]})
        return [[p["key"]]]


class Lapse(Call):
    """A lease runs out."""

    name = "lapse"
    weight = 10
    where = "super"

    @staticmethod
    def generate(rng):
        return keyed.choose_key(rng, "c", {})

    @staticmethod
    def sql(p):
        return (f"UPDATE idem_key SET lease_until = {LAPSED}"
                f" WHERE key = {literal(p['key'])} AND scope = {literal(p.get('scope') or '')} RETURNING key")

    @staticmethod
    def expect(view, p):
        item = keyed.item_of(p)
        row = view.found(item, plain=True)
        if row is None:
            return []
        view.write(item, {**row, "lapsed": row["leased"]})
        return [[p["key"]]]


class ExpireMessage(Call):
    name = "expire_message"
    weight = 6
    where = "super"

    @staticmethod
    def generate(rng):
        return {"message": f"m{rng.randint(1, 4)}"}

    @staticmethod
    def sql(p):
        return f"SELECT expire_message('{p['message']}')"

    @staticmethod
    def expect(view, p):
        item = ("message", "one", p["message"])
        if view.found(item) is None:
            return []
        view.write(item, {"expired": True})
        return [[p["message"]]]


class Purge(Call):
    name = "purge"
    weight = 12
    where = "super"

    @staticmethod
    def sql(p):
        return "SELECT idem_purge()"

    @staticmethod
    def expect(view, p):
        count = 0
        for item in view.items("key") + view.items("message"):
            own, row = view.own(item)
            if not own:
                seq, row = view.store.latest(item)
                # what others are at, or have written since, is passed over
                snapshot = view.transaction.snapshot
                if view.holders(item) or (snapshot is not None and seq > snapshot):
                    continue
            if row is not None and row["expired"]:
                view.write(item, None)
                if layout.in_store():
                    view.effect.nested.add(item)    # each table in a subtransaction of its own
                count += 1
        return [[str(count)]]


CALLS = (Expire, Lapse, ExpireMessage, Purge)
