import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Map;
import java.util.concurrent.Executors;
import org.postgresql.ds.PGSimpleDataSource;

/** A shop by com.sun.net.httpserver, on 127.0.0.1:PORT and the database that libpq's variables name. */
class Shop {
    /** Here belongs a check of the token. */
    static String tenant(HttpExchange exchange) {
        String token = exchange.getRequestHeaders().getFirst("Authorization");
        return token == null ? "" : token.replaceFirst("^Bearer ", "");
    }

    static Idempotency.Answer answer(int status, Map<String, String> headers, Object content) throws IOException {
        return new Idempotency.Answer(status, headers, Idempotency.JSON.writeValueAsBytes(content));
    }

    static Idempotency.Answer place(HttpExchange exchange, byte[] body, Connection db) throws Exception {
        JsonNode items = Idempotency.JSON.readTree(body).get("items");
        try (PreparedStatement statement = db.prepareStatement("SELECT id, sold_out FROM place_order(?, ?::jsonb)")) {
            statement.setString(1, tenant(exchange));
            statement.setString(2, items.toString());
            ResultSet placed = statement.executeQuery();
            placed.next();
            long id = placed.getLong(1);
            String missing = placed.getString(2);
            if (missing != null)
                return answer(409, Map.of("Content-Type", "application/json"), Map.of("error", missing + " is sold out"));
            return answer(201, Map.of("Content-Type", "application/json", "Location", "/orders/" + id),
                Map.of("order", id, "items", items));
        }
    }

    public static void main(String[] arguments) throws IOException {
        PGSimpleDataSource source = new PGSimpleDataSource();
        source.setServerNames(new String[] {System.getenv("PGHOST")});
        source.setPortNumbers(new int[] {Integer.parseInt(System.getenv("PGPORT"))});
        source.setUser(System.getenv("PGUSER"));
        source.setDatabaseName(System.getenv("PGDATABASE"));
        source.setConnectTimeout(5);

        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/orders", new Idempotency(source, Shop::tenant, "/.well-known/idempotency", Shop::place));
        server.createContext("/.well-known/idempotency", exchange -> {
            try (Connection db = source.getConnection();
                    ResultSet row = db.createStatement().executeQuery("SELECT idempotency_policy()")) {
                row.next();
                byte[] policy = Idempotency.JSON.writeValueAsBytes(Idempotency.JSON.readTree(row.getString(1)));
                exchange.getResponseHeaders().set("Content-Type", "application/json");
                exchange.sendResponseHeaders(200, policy.length);
                exchange.getResponseBody().write(policy);
            } catch (SQLException e) {
                exchange.sendResponseHeaders(503, -1);
            }
            exchange.close();
        });
        server.start();
    }
}
