// Places orders.  After an error of the commit the transaction is run again, under its key.
import java.sql.*;
import java.util.UUID;

class CommitIsEnoughMended {
    static Connection connect() throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":"
            + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), System.getenv("PGUSER"),
            System.getenv("PGPASSWORD"));
    }

    static void place(String customer) throws SQLException {
        UUID key = UUID.randomUUID();
        String order = "{\"customer\": \"" + customer + "\", \"total\": 440}";
        for (int attempt = 0; attempt < 30; attempt++) {
            try (Connection connection = connect()) {
                connection.setAutoCommit(false);
                try (PreparedStatement upsert = connection.prepareStatement(
                        "SELECT * FROM idem_upsert(?, 'orders', ?::jsonb)")) {
                    upsert.setObject(1, key);
                    upsert.setString(2, order);
                    upsert.execute();
                }
                connection.commit();
                return;
            } catch (SQLException e) {
                if (!e.getSQLState().startsWith("08")) throw e; // a lost connection
            }
        }
        throw new IllegalStateException("no answer after 30 attempts");
    }

    public static void main(String[] arguments) throws SQLException {
        String run = UUID.randomUUID().toString();
        for (int number = 0; number < 100; number++) place(run + "/" + number);

        int orders, customers;
        try (Connection connection = connect();
                PreparedStatement count = connection.prepareStatement(
                    "SELECT count(*), count(DISTINCT customer) FROM orders WHERE starts_with(customer, ?)")) {
            count.setString(1, run);
            ResultSet there = count.executeQuery();
            there.next();
            orders = there.getInt(1);
            customers = there.getInt(2);
        }
        if (orders != 100 || customers != 100) {
            System.err.printf("wrong: 100 customers placed an order each, %d have %d%n", customers, orders);
            System.exit(1);
        }
        System.out.println("right: 100 orders");
    }
}
