"""What others do to the same tables, without idem's functions."""

from model import Refused

from .base import Call, born, pick, public
from .keys import DEFAULTS, ROWS, VERSIONED, began
from .machines import EDGES, choose_state, guarded, machine, moved

TABLES = ("doc", "plain", "job", "ticket")


def condition(p):
    return f"id = {p['id']}"


class Write(Call):
    """An update of a column that no machine manages."""

    name = "write"
    weight = 8
    columns = "j"

    @staticmethod
    def generate(rng):
        return {"table": rng.choice(TABLES), "id": rng.randint(1, ROWS), "n": rng.randint(0, 3)}

    @staticmethod
    def sql(p):
        return f"UPDATE {p['table']} SET n = {p['n']} WHERE {condition(p)} RETURNING to_jsonb({p['table']})"

    @staticmethod
    def expect(view, p):
        item = (p["table"], p["id"])
        row = view.found(item, plain=True)
        if row is None:
            return []
        row = {**row, "n": p["n"]}
        if p["table"] in VERSIONED:
            row["version"] += 1
        view.write(item, row)
        return [[public(row)]]


class Move(Call):
    """An update of the state, which the machine must allow."""

    name = "move"
    weight = 6
    columns = "tt"

    @staticmethod
    def generate(rng):
        table = rng.choice(("job", "ticket"))
        return {"table": table, "id": rng.randint(1, ROWS), "to": choose_state(rng, table)}

    @staticmethod
    def sql(p):
        column, _ = machine(p["table"], p["to"])
        return f"UPDATE {p['table']} SET {column} = '{p['to']}' WHERE {condition(p)} RETURNING {column}, version"

    @staticmethod
    def expect(view, p):
        item, table, to = (p["table"], p["id"]), p["table"], p["to"]
        row = view.found(item, plain=True)
        if row is None:
            return []
        column, edges = machine(table, to)
        if row[column] == to:
            row = {**row, "version": row["version"] + 1}
            view.write(item, row)
            return [[to, str(row["version"])]]
        if to not in edges[row[column]]:
            raise Refused("ID201")
        if guarded(table, row, to):
            raise Refused("ID204")
        return [[to, str(moved(view, item, row, to, scope=None)["version"])]]


class Lock(Call):
    name = "lock"
    weight = 5

    @staticmethod
    def generate(rng):
        return {"table": rng.choice(TABLES), "id": rng.randint(1, ROWS)}

    @staticmethod
    def sql(p):
        return f"SELECT n FROM {p['table']} WHERE {condition(p)} FOR UPDATE"

    @staticmethod
    def expect(view, p):
        row = view.found((p["table"], p["id"]), plain=True)
        return [] if row is None else [[None if row["n"] is None else str(row["n"])]]


class Delete(Call):
    name = "delete"
    weight = 4

    @staticmethod
    def generate(rng):
        return {"table": rng.choice(TABLES), "id": rng.randint(1, ROWS)}

    @staticmethod
    def sql(p):
        return f"DELETE FROM {p['table']} WHERE {condition(p)} RETURNING id"

    @staticmethod
    def expect(view, p):
        item = (p["table"], p["id"])
        if view.found(item, plain=True) is None:
            return []
        view.write(item, None)
        return [[str(p["id"])]]


class Insert(Call):
    name = "insert"
    weight = 6

    @staticmethod
    def generate(rng):
        return {"table": rng.choice(TABLES), "id": rng.randint(1, ROWS),
                "status": pick(rng, ("a", 5), ("b", 1))}

    @staticmethod
    def sql(p):
        values = {"id": str(p["id"])}
        if p["table"] == "ticket":
            values["region"] = str(p["id"] % 2)
        if p["table"] in ("job", "ticket"):
            values["status"] = f"'{p['status']}'"
        return f"INSERT INTO {p['table']} ({', '.join(values)}) VALUES ({', '.join(values.values())}) RETURNING id"

    @staticmethod
    def expect(view, p):
        table, item = p["table"], (p["table"], p["id"])
        if view.unique(item, writers_only=True) is not None:
            raise Refused("23505")
        row = {"id": p["id"], **DEFAULTS[table]}
        if table == "ticket":
            row["region"] = p["id"] % 2
        if table in EDGES and p["status"] != "a":
            raise Refused("ID201")
        began(view, item, born(row))
        return [[str(p["id"])]]


class Add(Call):
    """Money from outside."""

    name = "add"
    weight = 4

    @staticmethod
    def generate(rng):
        return {"account": rng.randint(1, ROWS)}

    @staticmethod
    def sql(p):
        return f"UPDATE account SET balance = balance + 10 WHERE id = {p['account']} RETURNING balance"

    @staticmethod
    def expect(view, p):
        item = ("account", p["account"])
        row = view.found(item, plain=True)
        if row is None:
            return []
        row = {**row, "balance": row["balance"] + 10}
        view.write(item, row)
        return [[str(row["balance"])]]


CALLS = (Write, Move, Lock, Delete, Insert, Add)
