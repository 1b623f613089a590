"""What an administrator does to the tables.  Nothing of it changes an answer."""

from .base import Call

# Not idem_consumer: whether a definition has waited for its row, or for the table, makes a
# difference that cannot be seen.
TABLES = {
    "idem_key": ("idem_key_pkey",), "idem_key_range": (),
    "idem_message": ("idem_message_pkey", "idem_message_expires_at_idx"),
    "idem_offset": ("idem_offset_pkey",), "idem_scope": ("idem_scope_pkey",),
    "doc": ("doc_pkey",), "plain": ("plain_pkey",), "named": ("named_pkey", "named_code_key"),
    "job": ("job_pkey",), "ticket": ("ticket_pkey",), "account": ("account_pkey",),
}
SPREAD = ("ticket",)            # partitioned
OWN = ("doc", "plain", "job", "ticket", "named")


class Upkeep(Call):
    """Waits for all who have the table, while all who come wait for it."""

    name = "upkeep"
    weight = 8
    where = "super"
    columns = ""

    @staticmethod
    def generate(rng):
        table = rng.choice(list(TABLES))
        what = ["VACUUM FULL {t}", "ANALYZE {t}", "VACUUM {t}", "REINDEX TABLE {t}"]
        if table == "idem_key_range":
            what.append("TRUNCATE {t}")
        elif table not in SPREAD:
            what.append("CLUSTER {t} USING " + rng.choice(TABLES[table]))
        if table in OWN:
            what += ["ALTER TABLE {t} ADD COLUMN IF NOT EXISTS extra int DEFAULT 7",
                     "ALTER TABLE {t} DROP COLUMN IF EXISTS extra"]
        return {"sql": rng.choice(what).format(t=table)}

    @staticmethod
    def sql(p):
        return p["sql"]

    @staticmethod
    def expect(view, p):
        return []


CALLS = (Upkeep,)
