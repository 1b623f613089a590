// The shop by Hibernate, by its own sessions.

import java.math.BigDecimal;
import java.sql.SQLException;
import java.util.List;
import java.util.UUID;
import java.util.function.Function;
import javax.persistence.*;
import org.hibernate.*;
import org.hibernate.cfg.Configuration;

class Hibernate {
    @Entity @Table(name = "orders")
    public static class Order {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
        String customer;
        BigDecimal total;
        // a call moves it, and the trigger raises the version: neither is written from here
        @Column(insertable = false, updatable = false) String status;
        @Column(insertable = false, updatable = false) long version;
    }

    static SessionFactory factory = new Configuration()
        .addAnnotatedClass(Order.class)
        .setProperty("hibernate.dialect", "org.hibernate.dialect.PostgreSQLDialect")
        .setProperty("hibernate.connection.driver_class", "org.postgresql.Driver")
        .setProperty("hibernate.connection.url", String.format("jdbc:postgresql://%s:%s/%s",
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")))
        .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
        // this version's pool would hand out a connection that is broken
        .setProperty("hibernate.connection.pool_size", "0")
        .buildSessionFactory();

    static void expect(boolean right, String what) {
        if (!right) {
            System.err.println("wrong: " + what);
            System.exit(1);
        }
        System.out.println(what);
    }

    static <T> T transaction(Function<Session, T> work) {
        Session session = factory.openSession();
        try {
            Transaction transaction = session.beginTransaction();
            try {
                T answer = work.apply(session);
                transaction.commit();
                return answer;
            } catch (RuntimeException e) {
                try {
                    transaction.rollback();
                } catch (HibernateException lost) {
                    // there is no connection to roll back on
                }
                throw e;
            }
        } finally {
            session.close();
        }
    }

    // Runs a call, and returns its rows; of several columns each is an Object[].
    static List<?> call(Session session, String sql, Object... values) {
        SQLQuery query = session.createSQLQuery(sql);
        for (int i = 0; i < values.length; i++) query.setParameter(i, values[i]);
        return query.list();
    }

    static String sqlstate(Throwable e) {
        for (; e != null; e = e.getCause())
            if (e instanceof SQLException) return ((SQLException) e).getSQLState();
        return null;
    }

    static Object[] place(String key, String order, boolean lose) {
        return transaction(session -> {
            if (lose) session.createSQLQuery("SET LOCAL idem.lose_ack = 1").executeUpdate();
            return (Object[]) call(session,
                "SELECT CAST(outcome AS text), replayed, CAST(result->>'id' AS bigint) AS id"
                + " FROM idem_upsert(?, 'orders', CAST(? AS jsonb))", key, order).get(0);
        });
    }

    public static void main(String[] args) {
        String key = UUID.randomUUID().toString();
        String order = "{\"customer\": \"hibernate\", \"total\": 440}";
        try {
            place(key, order, true);
            expect(false, "nothing was lost");
        } catch (HibernateException e) {
            System.out.printf("lost: %s %s%n", e.getClass().getSimpleName(), sqlstate(e));
        }
        Object[] placed = place(key, order, false);
        long id = ((Number) placed[2]).longValue();
        expect(placed[0].equals("inserted") && (boolean) placed[1], "placed: inserted, replayed");

        transaction(session -> {
            Order mine = (Order) session.get(Order.class, id);
            Object[] moved = (Object[]) call(session,
                "SELECT from_state, to_state, version"
                + " FROM order_transition('orders', ?, ?)", mine.id, "PROCESSING").get(0);
            expect(((Number) moved[2]).longValue() == 2,
                String.format("moved order: %s -> %s, version %s", moved[0], moved[1], moved[2]));
            session.refresh(mine);  // it was read before the call
            expect(mine.status.equals("PROCESSING") && mine.version == 2,
                String.format("refreshed: %s, version %d", mine.status, mine.version));
            mine.total = new BigDecimal(450);  // and from now on the session may write it
            session.flush();
            session.refresh(mine);
            expect(mine.version == 3, "updated: version " + mine.version);

            String parcel = UUID.randomUUID().toString();
            session.createSQLQuery("INSERT INTO parcels VALUES (CAST(? AS uuid), ?)")
                .setParameter(0, parcel).setParameter(1, "hibernate").executeUpdate();
            moved = (Object[]) call(session,
                "SELECT from_state, to_state, version"
                + " FROM order_transition('parcels', ?, ?)", parcel, "PROCESSING").get(0);
            expect(((Number) moved[2]).longValue() == 2,
                String.format("moved parcel: %s -> %s, version %s", moved[0], moved[1], moved[2]));
            return null;
        });

        String messages = String.format("{%1$s/1,%1$s/2,%1$s/1}", key);
        int[] counts = new int[2];
        for (int i = 0; i < 2; i++)
            counts[i] = transaction(session -> call(session,
                "SELECT id FROM idem_consume_batch('hibernate', CAST(? AS text[])) AS id", messages).size());
        expect(counts[0] == 2 && counts[1] == 0,
            String.format("consumed: %d, then %d", counts[0], counts[1]));

        try {
            transaction(session -> call(session,
                "SELECT to_state FROM order_transition('orders', ?, ?)",
                id, "DELIVERED"));
            expect(false, "not refused");
        } catch (HibernateException e) {
            expect("ID201".equals(sqlstate(e)), String.format("refused: %s (%s, the SQLException among its causes)",
                sqlstate(e), e.getClass().getSimpleName()));
        }
        factory.close();
    }
}
