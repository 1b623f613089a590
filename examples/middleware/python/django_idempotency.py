"""Idempotency-Key for Django, with the setting IDEMPOTENCY: see docs/http.md."""
import json
import logging
from base64 import b64decode, b64encode
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.http import HttpResponse, JsonResponse

CLAIM = """SELECT outcome, response::text, greatest(1, ceil(extract(epoch FROM lease_until - now())))::int
    FROM idem_claim(idem_http_key(%(key)s), scope => %(tenant)s, wait => false, request => jsonb_build_object(
        'method', %(method)s::text, 'target', %(target)s::text, 'body', CASE WHEN %(type)s::text ~ 'json'
            THEN nullif(convert_from(%(body)s, 'UTF8'), '')::jsonb ELSE to_jsonb(sha256(%(body)s)) END))"""
KEEP = "SELECT {}(idem_http_key(%(key)s), %(kept)s::jsonb, scope => %(tenant)s)"

class Idempotency:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.method not in ("POST", "PATCH"):
            return self.get_response(request)
        len(request.body)  # reads it, before a connection has to wait for it
        try:
            with transaction.atomic():
                response = self.once(request)
                if response.status_code >= 500 or response.status_code in (408, 425, 429):
                    transaction.set_rollback(True)  # and the key is free
            return response
        except Error as error:
            try:
                return self.refusal(error)
            except Error:
                return self.problem(503, "The database cannot be reached", 1)

    def once(self, request):
        asked = {"key": request.headers.get("Idempotency-Key"), "tenant": settings.IDEMPOTENCY["tenant"](request),
                 "method": request.method, "target": request.get_full_path(), "type": request.content_type,
                 "body": request.body}
        outcome, kept, seconds = self.query(CLAIM, asked)
        if outcome == "in_progress":
            return self.problem(409, "This Idempotency-Key is in progress", seconds)
        if outcome != "claimed":
            kept = json.loads(kept)
            headers = kept["headers"] | {"Idempotent-Replayed": "true"}
            return HttpResponse(b64decode(kept["body"]), status=kept["status"], headers=headers)
        with transaction.atomic():  # a savepoint
            response = self.get_response(request)
            # of what was written, not of the claim
            transaction.set_rollback(response.status_code >= 400 or transaction.get_rollback())
        response = self.refusal(request.refused) if hasattr(request, "refused") else response
        kept = json.dumps({"status": response.status_code, "headers": dict(response.items()),
                           "body": b64encode(response.content).decode()})
        self.query(KEEP.format("idem_complete" if response.status_code < 400 else "idem_fail"), asked | {"kept": kept})
        return response

    def process_exception(self, request, exception):
        if isinstance(exception, Error) and request.method in ("POST", "PATCH"):
            request.refused = exception
            return HttpResponse(status=500)

    def query(self, sql, arguments):
        with connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchone()

    def refusal(self, error):
        diag = getattr(error.__cause__, "diag", None)  # of psycopg, 2 or 3
        lost = isinstance(error, (InterfaceError, OperationalError))
        status, = self.query("SELECT idem_http_status(%s)", [diag and diag.sqlstate or ("08006" if lost else "XX000")])
        if status >= 500:
            logging.getLogger(__name__).error("not executed: %s", error)
        return self.problem(status, diag.message_primary if status < 500 else "Not executed", int(status == 503))

    def problem(self, status, title, seconds=0):
        return JsonResponse({"type": settings.IDEMPOTENCY["policy"], "title": title, "status": status}, status=status,
                            content_type="application/problem+json", headers={"Retry-After": seconds} if seconds else {})
