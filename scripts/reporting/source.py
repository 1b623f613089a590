"""What a database says of itself: asked by psql, which knows how to connect.

Every question is one read-only transaction with a search_path of its own, and its answer one
line of JSON.  A part that the role may not read, or that this database does not have, comes
back as the reason, so that the page shows what it can.
"""

import json
import re
import subprocess

SEVERITIES = ("ok", "warning", "critical")


class Unanswered(Exception):
    """What the server, or psql, said instead of an answer."""


class Database:
    def __init__(self, conninfo=None, psql="psql"):
        self.command = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        if conninfo is not None:
            self.command += ["-d", conninfo]
        found = self.ask("""
            SELECT json_build_object('schema', quote_ident(n.nspname), 'version', e.extversion)
            FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
            WHERE e.extname = 'idem'""")
        if found is None:
            raise Unanswered("the extension idem is not in this database")
        self.schema, self.version = found["schema"], found["version"]

    def ask(self, sql):
        """The JSON that a statement returns, or None where it returns no row."""
        script = f"""BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
            SET LOCAL search_path = pg_catalog, pg_temp;
            SET LOCAL statement_timeout = '60s';
            SET LOCAL standard_conforming_strings = on;
            SET LOCAL client_encoding = 'UTF8';
            SET LOCAL "TimeZone" = 'UTC';
            {sql};
            COMMIT;"""
        done = subprocess.run(self.command, input=script, capture_output=True, text=True,
                              encoding="utf-8", errors="replace")
        if done.returncode != 0:
            raise Unanswered(_reason(done.stderr))
        return json.loads(done.stdout) if done.stdout.strip() else None

    def own(self, sql):
        """Asks with {s}. in place of the schema that idem is in."""
        return self.ask(sql.replace("{s}", self.schema))

    def part(self, question):
        """The answer to a question, or the reason why there is none."""
        try:
            return question(self)
        except Unanswered as error:
            return str(error)


def _reason(stderr):
    """The line of psql's that says what went wrong."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    for line in lines:
        found = re.search(r"(?:ERROR|FATAL):\s*(.*)", line)
        if found:
            return found.group(1)
    return lines[0] if lines else "psql failed without a word"


def server(database):
    return database.ask("""
        SELECT json_build_object('database', current_database(), 'role', current_user,
            'postgres', current_setting('server_version'), 'standby', pg_is_in_recovery(),
            'now', extract(epoch FROM clock_timestamp()))""")


def sample(database):
    """The counters of this database, now; of those that share theirs, where it is one of them."""
    return database.own("""
        SELECT json_build_object(
            't', extract(epoch FROM clock_timestamp()),
            'since', extract(epoch FROM max(reset_at)),
            'counters', json_object_agg(counter, value))
        FROM {s}.idem_stats WHERE datname = current_database() OR datname IS NULL AND NOT EXISTS (
            SELECT FROM {s}.idem_stats WHERE datname = current_database())
        HAVING count(*) > 0""")


def health(database):
    return database.own("""
        SELECT coalesce(json_agg(json_build_object('check', "check", 'severity', severity,
            'value', CAST(value AS text), 'hint', hint)), '[]')
        FROM {s}.idem_health""")


def claims(database, limit):
    """Open claims, those whose lease ended first; one more than are shown."""
    return database.own("""
        SELECT coalesce(json_agg(c), '[]') FROM (
            SELECT json_build_object('key', key, 'scope', scope, 'role', CAST(role AS text),
                'since', extract(epoch FROM since), 'until', extract(epoch FROM lease_until),
                'fence', fence, 'checkpoint', checkpoint) AS c
            FROM {s}.idem_claims
            ORDER BY lease_until NULLS FIRST, since, key COLLATE "C" LIMIT """ + str(limit + 1) + ") AS c")


def sagas(database, limit):
    """Sagas that have not ended, the stuck ones first; None where there are no sagas yet."""
    if not database.ask("""
            SELECT to_json(count(*)) FROM pg_class WHERE relname = 'idem_saga_status'
                AND relnamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'idem')"""):
        return None
    return database.own("""
        SELECT coalesce(json_agg(c), '[]') FROM (
            SELECT json_build_object('saga', saga, 'scope', scope, 'status', status,
                'started', extract(epoch FROM started_at), 'deadline', extract(epoch FROM deadline),
                'steps', steps, 'done', done, 'undone', undone, 'stuck', stuck,
                'error', CAST(error AS text)) AS c
            FROM {s}.idem_saga_status WHERE ended_at IS NULL
            ORDER BY status <> 'stuck', started_at, saga COLLATE "C" LIMIT """ + str(limit + 1) + ") AS c")


def machines(database):
    """Every machine as idem_machine_graph() draws it, and the columns that follow it."""
    return database.own("""
        WITH arguments AS (
            SELECT CAST(CAST(t.tgrelid AS regclass) AS text) AS target,
                substring(t.tgargs FOR position('\\x00' IN t.tgargs) - 1) AS machine,
                substring(t.tgargs FROM position('\\x00' IN t.tgargs) + 1) AS rest
            FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
            WHERE p.proname = 'idem_lifecycle' AND t.tgparentid = 0 AND t.tgnargs > 1
                AND p.pronamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'idem')
                -- not idem's own tables of sagas
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = CAST('pg_class' AS regclass)
                    AND d.objid = t.tgrelid AND d.deptype = 'e')),
        followers AS (
            SELECT convert_from(machine, getdatabaseencoding()) AS machine,
                json_agg(DISTINCT target || '.' || quote_ident(convert_from(
                    substring(rest FOR position('\\x00' IN rest) - 1), getdatabaseencoding()))) AS columns
            FROM arguments GROUP BY 1),
        names AS (
            SELECT CAST(name AS text) FROM {s}.idem_machine
            UNION SELECT 'order'
            UNION SELECT machine FROM followers)
        SELECT json_agg(json_build_object('name', n.name, 'columns', f.columns,
            'graph', {s}.idem_machine_graph(n.name)) ORDER BY n.name COLLATE "C")
        FROM names AS n LEFT JOIN followers AS f ON f.machine = n.name""")
