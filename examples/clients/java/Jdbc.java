// The shop by JDBC.

import java.sql.*;
import java.util.UUID;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;

class Jdbc {
    record Placed(String outcome, boolean replayed, long id, long version) {}

    static void expect(boolean right, String what) {
        if (!right) {
            System.err.println("wrong: " + what);
            System.exit(1);
        }
        System.out.println(what);
    }

    static DataSource source() {
        var source = new PGSimpleDataSource();
        source.setServerNames(new String[] {System.getenv("PGHOST")});
        source.setPortNumbers(new int[] {Integer.parseInt(System.getenv("PGPORT"))});
        source.setUser(System.getenv("PGUSER"));
        source.setDatabaseName(System.getenv("PGDATABASE"));
        return source;
    }

    static Placed place(DataSource source, UUID key, String order, boolean lose) throws SQLException {
        try (Connection connection = source.getConnection()) {
            connection.setAutoCommit(false);
            if (lose) {
                try (var statement = connection.createStatement()) {
                    statement.execute("SET LOCAL idem.lose_ack = 1");
                }
            }
            try (var statement = connection.prepareStatement(
                    "SELECT outcome, replayed, result->>'id', result->>'version'"
                    + " FROM idem_upsert(?, 'orders', ?::jsonb)")) {
                statement.setObject(1, key);
                statement.setString(2, order);
                ResultSet row = statement.executeQuery();
                row.next();
                var placed = new Placed(
                    row.getString(1), row.getBoolean(2), row.getLong(3), row.getLong(4));
                connection.commit();
                return placed;
            }
        }
    }

    // Moves a row on, and prints that.
    static void move(Connection connection, String what, Object id, UUID key) throws SQLException {
        try (var statement = connection.prepareStatement(
                "SELECT from_state, to_state, version"
                + " FROM order_transition(?, ?, ?, expected_version => ?, key => ?)")) {
            statement.setString(1, what + "s");
            statement.setObject(2, id);
            statement.setString(3, "PROCESSING");
            statement.setLong(4, 1);
            statement.setString(5, key + "/PROCESSING/" + what);
            ResultSet row = statement.executeQuery();
            row.next();
            expect(row.getLong(3) == 2, String.format("moved %s: %s -> %s, version %d",
                what, row.getString(1), row.getString(2), row.getLong(3)));
        }
    }

    static int consume(Connection connection, String... messages) throws SQLException {
        try (var statement = connection.prepareStatement("SELECT * FROM idem_consume_batch('jdbc', ?)")) {
            statement.setArray(1, connection.createArrayOf("text", messages));
            ResultSet rows = statement.executeQuery();
            int count = 0;
            while (rows.next()) count++;
            return count;
        }
    }

    public static void main(String[] args) throws SQLException {
        DataSource source = source();
        UUID key = UUID.randomUUID();
        String order = "{\"customer\": \"jdbc\", \"total\": 440}";
        try {
            place(source, key, order, true);
            expect(false, "nothing was lost");
        } catch (SQLException e) {
            System.out.println("lost: " + e.getSQLState());
        }
        Placed placed = place(source, key, order, false);
        expect(placed.outcome.equals("inserted") && placed.replayed, "placed: inserted, replayed");

        try (Connection connection = source.getConnection()) {
            move(connection, "order", placed.id, key);

            UUID parcel = UUID.randomUUID();
            try (var statement = connection.prepareStatement("INSERT INTO parcels VALUES (?, ?)")) {
                statement.setObject(1, parcel);
                statement.setString(2, "jdbc");
                statement.execute();
            }
            move(connection, "parcel", parcel, key);

            int[] counts = new int[2];
            for (int i = 0; i < 2; i++) counts[i] = consume(connection, key + "/1", key + "/2", key + "/1");
            expect(counts[0] == 2 && counts[1] == 0,
                String.format("consumed: %d, then %d", counts[0], counts[1]));

            try (var statement = connection.prepareStatement(
                    "SELECT * FROM order_transition('orders', ?, ?)")) {
                statement.setLong(1, placed.id);
                statement.setString(2, "DELIVERED");
                statement.executeQuery();
                expect(false, "not refused");
            } catch (SQLException e) {
                expect("ID201".equals(e.getSQLState()),
                    "refused: " + e.getSQLState() + " (" + e.getClass().getSimpleName() + ".getSQLState)");
            }
        }
    }
}
