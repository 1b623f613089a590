"""Does what PostgREST does with a POST to a view, as far as the database sees it.

PostgREST is not in Debian.  This server sends the statements that version 14 of it
sends, sets the settings that it sets, and makes of the settings and errors that come
back what it makes of them.  It takes the token for the name of the user.
"""
import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import psycopg

SETTINGS = """SELECT set_config('search_path', %s, true), set_config('role', %s, true),
    set_config('request.jwt.claims', %s, true), set_config('request.method', %s, true),
    set_config('request.path', %s, true), set_config('request.headers', %s, true),
    set_config('request.cookies', '{}', true)"""
INSERT = """WITH pgrst_source AS (
    INSERT INTO "api"."orders"("items") SELECT "pgrst_body"."items"
    FROM (SELECT %s::json AS json_data) pgrst_payload,
    LATERAL (SELECT "items" FROM json_to_recordset(
        CASE WHEN json_typeof(pgrst_payload.json_data) = 'array' THEN pgrst_payload.json_data
             ELSE json_build_array(pgrst_payload.json_data) END) AS _("items" jsonb)) pgrst_body
    RETURNING "api"."orders".*)
    SELECT '' AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, array[]::text[] AS header,
        coalesce(json_agg(_postgrest_t), '[]')::text AS body,
        nullif(current_setting('response.headers', true), '') AS response_headers,
        nullif(current_setting('response.status', true), '') AS response_status, '' AS response_inserted
    FROM (SELECT "orders".* FROM "pgrst_source" AS "orders") _postgrest_t"""


def status_of(state):
    """What mapSQLtoHTTP() of PostgREST's makes of a SQLSTATE, where it concerns this test."""
    if re.match("PT[0-9]{3}$", state):
        return int(state[2:])
    for prefix, status in (("08", 503), ("23503", 409), ("23505", 409), ("25006", 405), ("53", 503), ("57", 500),
                           ("40", 500), ("XX", 500), ("42501", 403), ("42883", 404), ("42P01", 404)):
        if state.startswith(prefix):
            return status
    return 400


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0))).decode()
        user = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            with psycopg.connect(autocommit=False) as db:
                db.execute(SETTINGS, ['"api", "public"', "web", json.dumps({"role": "web", "sub": user}), self.command,
                                      self.path, json.dumps(headers)])
                row = db.execute(INSERT, [body]).fetchone()
            status, more = int(row[5] or 201), {k: v for each in json.loads(row[4] or "[]") for k, v in each.items()}
            self.answer(status, more, row[3])
        except psycopg.Error as error:
            diag, state = error.diag, error.sqlstate
            if state is None:
                return self.answer(503, {"Retry-After": "1"}, json.dumps({"code": "PGRST001", "message": "Database client error."}))
            if state == "PGRST":
                more, message = json.loads(diag.message_detail), json.loads(diag.message_primary)
                return self.answer(more["status"], more["headers"], json.dumps(message))
            self.answer(status_of(state), {}, json.dumps({"code": state, "message": diag.message_primary,
                                                         "details": diag.message_detail, "hint": diag.message_hint}))

    def answer(self, status, headers, body):
        body = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
