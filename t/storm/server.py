"""The server under the storm: what the schedules run on, and how it is hurt."""

import os
import signal
import time

import calls
import free_calls
import layout
from calls import keyed
from pq import Connection

USERS = ("alice", "bob", "carol")
START = 60                      # seconds within which a server comes back


class Server:
    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.control = Connection(conninfo, "postgres")
        self.reach()

    def reach(self):
        """Connects, if need be after a crash."""
        until = time.monotonic() + START
        while True:
            message = self.control.connect()
            if message is None:
                return
            if time.monotonic() > until:
                raise RuntimeError(f"no server: {message}")
            time.sleep(0.02)

    def session(self, user, simple=True):
        connection = Connection(self.conninfo, user, simple)
        self.open(connection)
        return connection

    def open(self, connection):
        until = time.monotonic() + START
        while True:
            message = connection.connect()
            if message is None:
                return
            if time.monotonic() > until:
                raise RuntimeError(f"no connection: {message}")
            time.sleep(0.02)

    def ask(self, sql):
        return self.control.value(sql)

    def rows(self, sql):
        answer = self.control.ask(layout.placed(sql))
        if not answer.ok:
            raise RuntimeError(f"{answer} at {sql}")
        return answer.rows

    def install(self):
        self.undo_prepared()
        self.rows(layout.FORGET)
        self.rows("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; DROP EXTENSION IF EXISTS idem CASCADE;"
                  "CREATE EXTENSION idem;")
        if layout.in_store():
            self.rows(layout.MAKE_STORE)
        for user in USERS:
            if not self.ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'"):
                self.rows(f"CREATE ROLE {user} LOGIN")
        for user, roles in keyed.MEMBERS.items():
            self.rows(f"GRANT {', '.join(roles)} TO {user}")
        self.rows("GRANT SET ON PARAMETER idem.lose_ack, idem.lose_request TO PUBLIC")
        self.rows(layout.schema(calls.schema() + free_calls.SCHEMA))
        self.rows("GRANT USAGE ON SCHEMA public TO PUBLIC;"
                  "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p')"
                  " AND relnamespace = 'public'::regnamespace AND relname NOT LIKE 'idem%' LOOP"
                  " EXECUTE format('GRANT ALL ON %s TO PUBLIC', t); END LOOP; END $$")
        if layout.routed():
            self.rows(layout.MAKE_ROUTED)
        database = self.ask("SELECT quote_ident(current_database())")
        self.rows(f"ALTER DATABASE {database} SET idem.store = '{layout.STORE if layout.in_store() else ''}'")
        self.reach()

    def undo_prepared(self):
        """Ends what a schedule has left that failed."""
        for (gid,) in self.rows("SELECT gid FROM pg_prepared_xacts"):
            self.rows(f"ROLLBACK PREPARED '{gid}'")

    def reset(self):
        self.undo_prepared()
        self.rows("SET lock_timeout = '20s';" + calls.reset() + "DELETE FROM public.idem_key;")

    def reset_free(self):
        self.reset()
        self.rows(free_calls.RESET + "RESET lock_timeout")

    def crash(self):
        """One backend is killed, and the server ends all of them and recovers."""
        witness = self.session("postgres")
        os.kill(self.control.pid, signal.SIGKILL)
        # once this one has been ended, there are no new connections until it has recovered
        witness.ask("SELECT pg_sleep(%d)" % START)
        witness.close()
        self.reach()
