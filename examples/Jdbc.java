// Places an order and moves it on, each exactly once, whatever breaks.
//
// usage: java -cp postgresql.jar Jdbc.java [URL [KEY]]

import java.sql.*;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;

class Jdbc {
    // The connection is lost, or the transaction gave way to another one.
    static final String TEMPORARY = "08...|57P01|57P02|57P03|40001|40P01";

    interface Work<T> { T run(Connection connection) throws SQLException; }
    interface Reader<T> { T read(ResultSet row) throws SQLException; }
    record Placed(String outcome, boolean replayed, long id, long version) {}
    record Moved(String outcome, boolean replayed, String from, String to, long version) {}

    // Returns what work returns, once it has committed.
    //
    // Does all of it again, for up to a minute, where that can help.  So whatever
    // work writes must be under a key, which must not be made by work itself.
    static <T> T retry(DataSource source, Work<T> work) throws SQLException, InterruptedException {
        long deadline = System.nanoTime() + 60_000_000_000L;
        for (long pause = 50; ; pause = Math.min(2 * pause, 2000)) {
            try (Connection connection = source.getConnection()) {
                connection.setAutoCommit(false);
                T answer = work.run(connection);
                connection.commit();
                return answer;
            } catch (SQLException e) {
                boolean temporary = e.getSQLState() != null && e.getSQLState().matches(TEMPORARY);
                if (!temporary || System.nanoTime() > deadline) throw e;
                System.err.println("sending again after " + e.getSQLState() + ": " + e.getMessage());
            }
            Thread.sleep(ThreadLocalRandom.current().nextLong(pause));
        }
    }

    static <T> T first(Connection connection, Reader<T> reader, String sql, Object... values)
            throws SQLException {
        try (var statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
            var rows = statement.executeQuery();
            rows.next();
            return reader.read(rows);
        }
    }

    static Placed place(Connection connection, String key, String order) throws SQLException {
        return first(connection,
            r -> new Placed(r.getString(1), r.getBoolean(2), r.getLong(3), r.getLong(4)),
            "SELECT outcome, replayed, result->>'id', result->>'version'"
            + " FROM idem_upsert(?, 'orders', ?::jsonb)", key, order);
    }

    // To decide the same upon another version is another request: another key.
    static Moved move(Connection connection, String key, long id, String status, long version)
            throws SQLException {
        return first(connection,
            r -> new Moved(r.getString(1), r.getBoolean(2), r.getString(3), r.getString(4), r.getLong(5)),
            "SELECT * FROM order_transition('orders', ?, ?,"
            + " expected_version => ?, key => ?)",
            id, status, version, key + "/" + status + "/" + version);
    }

    public static void main(String[] args) throws Exception {
        var source = new PGSimpleDataSource();  // or that of a pool
        source.setUrl(args.length > 0 ? args[0] : "jdbc:postgresql:///");
        String key = args.length > 1 ? args[1] : UUID.randomUUID().toString();

        Placed order = retry(source, c -> place(c, key, "{\"customer\": \"VINET\", \"total\": 440}"));
        System.out.println(order);
        Moved moved = retry(source, c -> move(c, key, order.id, "PROCESSING", order.version));
        System.out.println(moved);

        try {
            retry(source, c -> move(c, key, order.id, "SHIPPED", order.version));
        } catch (SQLException e) {
            if (!"ID203".equals(e.getSQLState())) throw e;
            System.out.println("ID203: " + e.getMessage());
            // not what was read: read again, decide anew
            long version = retry(source, c ->
                first(c, r -> r.getLong(1), "SELECT version FROM orders WHERE id = ?", order.id));
            Moved shipped = retry(source, c -> move(c, key, order.id, "SHIPPED", version));
            System.out.println(shipped);
        }
    }
}
