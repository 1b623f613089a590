import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import java.io.IOException;
import java.io.OutputStream;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import javax.sql.DataSource;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Idempotency-Key for com.sun.net.httpserver, by JDBC: a handler of POST and PATCH. See docs/http.md. */
record Idempotency(DataSource db, Function<HttpExchange, String> tenant, String policy, Work work) implements HttpHandler {
    /** What a request does, in a transaction that is not its own. */
    interface Work { Answer run(HttpExchange exchange, byte[] body, Connection db) throws Exception; }

    /** What a key keeps of a response, with the body as Base64. */
    record Answer(int status, Map<String, String> headers, byte[] body) {}

    static final ObjectMapper JSON = new ObjectMapper();
    static final String CLAIM = """
        SELECT outcome, response || jsonb_build_object('headers', response->'headers' || '{"Idempotent-Replayed": "true"}'),
            greatest(1, ceil(extract(epoch FROM lease_until - now())))::int
        FROM idem_claim(idem_http_key(?), scope => ?, wait => false, request => jsonb_build_object('method', ?, 'target', ?,
            'body', CASE WHEN ?::text ~ 'json' THEN nullif(convert_from(?, 'UTF8'), '')::jsonb ELSE to_jsonb(sha256(?)) END)
            )""";

    @Override public void handle(HttpExchange exchange) throws IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        Answer answer;
        try (Connection db = this.db.getConnection()) {
            db.setAutoCommit(false);
            try {
                answer = once(exchange, body, db);
                // rolled back, the key is free
                if (answer.status >= 500 || Set.of(408, 425, 429).contains(answer.status)) db.rollback(); else db.commit();
            } catch (SQLException e) {
                db.rollback();
                answer = refusal(db, e);
            }
        } catch (SQLException e) {
            answer = problem(503, "The database cannot be reached", Map.of("Retry-After", "1"));
        }
        answer.headers.forEach(exchange.getResponseHeaders()::set);
        exchange.sendResponseHeaders(answer.status, answer.body.length == 0 ? -1 : answer.body.length);
        try (OutputStream stream = exchange.getResponseBody()) { stream.write(answer.body); }
    }

    private Answer once(HttpExchange exchange, byte[] body, Connection db) throws SQLException, IOException {
        String key = String.join(", ", exchange.getRequestHeaders().getOrDefault("Idempotency-Key", List.of()));
        ResultSet claim = query(db, CLAIM, key, tenant.apply(exchange), exchange.getRequestMethod(),
            exchange.getRequestURI().toString(), exchange.getRequestHeaders().getFirst("Content-Type"), body, body);
        if (claim.getString(1).equals("in_progress"))
            return problem(409, "This Idempotency-Key is in progress", Map.of("Retry-After", claim.getString(3)));
        if (!claim.getString(1).equals("claimed")) return JSON.readValue(claim.getString(2), Answer.class);
        Savepoint savepoint = db.setSavepoint();
        Answer answer;
        try {
            answer = work.run(exchange, body, db);
            if (answer.status >= 400) db.rollback(savepoint); // what was written, not the claim
        } catch (Exception e) {
            db.rollback(savepoint);
            answer = refusal(db, e);
        }
        query(db, "SELECT idem_" + (answer.status < 400 ? "complete" : "fail") + "(idem_http_key(?), ?::jsonb, scope => ?)",
            key, JSON.writeValueAsString(answer), tenant.apply(exchange));
        return answer;
    }

    private Answer refusal(Connection db, Exception e) throws SQLException, IOException {
        String state = e instanceof SQLException s && s.getSQLState() != null ? s.getSQLState() : "XX000";
        int status = query(db, "SELECT idem_http_status(?)", state).getInt(1);
        // the exception's own message has the detail in it
        ServerErrorMessage message = e instanceof PSQLException p ? p.getServerErrorMessage() : null;
        if (status >= 500) e.printStackTrace();
        return problem(status, status < 500 && message != null ? message.getMessage() : "Not executed",
            status == 503 ? Map.of("Retry-After", "1") : Map.of());
    }

    private Answer problem(int status, String title, Map<String, String> more) throws IOException {
        Map<String, String> headers = new HashMap<>(more);
        headers.put("Content-Type", "application/problem+json");
        return new Answer(status, headers, JSON.writeValueAsBytes(Map.of("type", policy, "title", title, "status", status)));
    }

    private static ResultSet query(Connection db, String sql, Object... arguments) throws SQLException {
        PreparedStatement statement = db.prepareStatement(sql);
        for (int i = 0; i < arguments.length; i++) statement.setObject(i + 1, arguments[i]);
        ResultSet row = statement.executeQuery();
        row.next();
        return row;
    }
}
