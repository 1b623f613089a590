"""idem_stats, idem_health, idem_stats_reset: what idem tells of itself.

What is counted depends on all that runs beside it, so only its form is compared.
"""

from .base import Call


class Figures(Call):
    name = "figures"
    weight = 4
    reads = True
    columns = "tt"

    @staticmethod
    def sql(p):
        return ("SELECT (SELECT count(*) > 20 AND bool_and(value >= 0) FROM idem_stats),"
                " (SELECT count(*) > 10 AND bool_and(severity IN ('ok', 'warning', 'critical')"
                " AND (severity = 'ok') = (hint IS NULL)) FROM idem_health)")

    @staticmethod
    def expect(view, p):
        return [["t", "t"]]


class Reset(Call):
    name = "stats_reset"
    weight = 1
    where = "super"
    reads = True

    @staticmethod
    def sql(p):
        return "SELECT idem_stats_reset()"

    @staticmethod
    def expect(view, p):
        return [[""]]


CALLS = (Figures, Reset)
