"""What a call is: how it is made up, its SQL, its sequential model."""

import json


class Call:
    """A kind of call.  To add one, see README.md.

    name        by which schedules call it
    weight      how often it is made, among others
    columns     of its answer: t text, j JSON, one letter each
    where       what may stand in the way of it: "any" session or "super" ones only
    reads       whether it only reads: its transaction has nothing that could be lost
    """

    name = None
    weight = 10
    columns = "t"
    where = "any"
    reads = False

    @staticmethod
    def generate(rng):
        """Its parameters, which JSON can hold, made from the schedule's random numbers."""
        return {}

    @staticmethod
    def sql(p):
        raise NotImplementedError

    @staticmethod
    def expect(view, p):
        """The rows that it must return if it runs alone, and its effect, by way of the
        view.  Raises Refused where it must fail."""
        raise NotImplementedError

    @classmethod
    def read(cls, rows):
        """Rows as expect() has them."""
        return [[tidy(json.loads(v)) if v is not None and kind == "j" else v
                 for v, kind in zip(row, cls.columns)] for row in rows]


def tidy(value):
    """JSON without what is not compared: the order of arrays, generated numbers, and a
    column that comes and goes."""
    if isinstance(value, dict):
        return {k: tidy(v) for k, v in value.items() if k not in ("extra", "serial")}
    if isinstance(value, list):
        try:
            return sorted(value)
        except TypeError:
            return [tidy(v) for v in value]
    return value


def public(row):
    """A row of the model as its JSON."""
    return {k: v for k, v in row.items() if not k.startswith("_")}


def literal(value):
    """A value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (dict, list)):
        value = json.dumps(value)
    return "'" + value.replace("'", "''") + "'"


def named(p, *names):
    """Arguments by name, those that are given."""
    return "".join(f", {n} => {literal(p[n])}" for n in names if p.get(n) is not None)


# What an error that is kept as an answer has beside its SQLSTATE.
WORDS = "{message,detail,hint,schema,table,column,datatype,constraint}"


def trimmed(column):
    """A column that may have an error, as SQL without the error's words."""
    return f"CASE WHEN jsonb_typeof({column}) = 'object' THEN {column} - '{WORDS}'::text[] ELSE {column} END"


def boolean(value):
    return "t" if value else "f"


_lives = [0]


def born(row):
    """A row that has just been inserted, told from those of its key before."""
    _lives[0] += 1
    return {**row, "_life": _lives[0]}


def pick(rng, *choices):
    """One of the choices; (choice, weight) pairs."""
    return rng.choices([c for c, _ in choices], [w for _, w in choices])[0]
