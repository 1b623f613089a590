// The shop by JPA, as EclipseLink has it.

import java.math.BigDecimal;
import java.sql.SQLException;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.Function;
import javax.persistence.*;

class EclipseLink {
    @Entity @Table(name = "orders")
    public static class Order {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
        String customer;
        BigDecimal total;
        // a call moves it, and the trigger raises the version: neither is written from here
        @Column(insertable = false, updatable = false) String status;
        @Column(insertable = false, updatable = false) long version;
    }

    static EntityManagerFactory factory = Persistence.createEntityManagerFactory("shop", Map.of(
        "javax.persistence.jdbc.url", String.format("jdbc:postgresql://%s:%s/%s",
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")),
        "javax.persistence.jdbc.user", System.getenv("PGUSER")));

    static void expect(boolean right, String what) {
        if (!right) {
            System.err.println("wrong: " + what);
            System.exit(1);
        }
        System.out.println(what);
    }

    static <T> T transaction(Function<EntityManager, T> work) {
        EntityManager manager = factory.createEntityManager();
        try {
            manager.getTransaction().begin();
            T answer = work.apply(manager);
            manager.getTransaction().commit();
            return answer;
        } finally {
            if (manager.getTransaction().isActive()) manager.getTransaction().rollback();
            manager.close();
        }
    }

    // Runs a call, and returns its rows; of several columns each is an Object[].
    static List<?> call(EntityManager manager, String sql, Object... values) {
        Query query = manager.createNativeQuery(sql);
        for (int i = 0; i < values.length; i++) query.setParameter(i + 1, values[i]);
        return query.getResultList();
    }

    static String sqlstate(Throwable e) {
        for (; e != null; e = e.getCause())
            if (e instanceof SQLException) return ((SQLException) e).getSQLState();
        return null;
    }

    static Object[] place(UUID key, String order, boolean lose) {
        return transaction(manager -> {
            if (lose) manager.createNativeQuery("SET LOCAL idem.lose_ack = 1").executeUpdate();
            return (Object[]) call(manager,
                "SELECT outcome, replayed, CAST(result->>'id' AS bigint)"
                + " FROM idem_upsert(?, 'orders', CAST(? AS jsonb))", key, order).get(0);
        });
    }

    // Moves a row on, and prints that.
    static void move(EntityManager manager, String what, Object id) {
        Object[] moved = (Object[]) call(manager,
            "SELECT from_state, to_state, version FROM order_transition(?, ?, ?)",
            what + "s", id, "PROCESSING").get(0);
        expect((long) moved[2] == 2,
            String.format("moved %s: %s -> %s, version %s", what, moved[0], moved[1], moved[2]));
    }

    public static void main(String[] args) {
        UUID key = UUID.randomUUID();
        String order = "{\"customer\": \"eclipselink\", \"total\": 440}";
        try {
            place(key, order, true);
            expect(false, "nothing was lost");
        } catch (PersistenceException e) {
            System.out.printf("lost: %s %s%n", e.getClass().getSimpleName(), sqlstate(e));
        }
        Object[] placed = place(key, order, false);
        expect(placed[0].toString().equals("inserted") && (boolean) placed[1], "placed: inserted, replayed");

        transaction(manager -> {
            Order mine = manager.find(Order.class, placed[2]);
            move(manager, "order", mine.id);
            manager.refresh(mine);  // it was read before the call
            expect(mine.status.equals("PROCESSING") && mine.version == 2,
                String.format("refreshed: %s, version %d", mine.status, mine.version));
            mine.total = new BigDecimal(450);  // and from now on the unit of work may write it
            manager.flush();
            manager.refresh(mine);
            expect(mine.version == 3, "updated: version " + mine.version);

            UUID parcel = UUID.randomUUID();
            manager.createNativeQuery("INSERT INTO parcels VALUES (?, ?)")
                .setParameter(1, parcel).setParameter(2, "eclipselink").executeUpdate();
            move(manager, "parcel", parcel);
            return null;
        });

        String messages = String.format("{%1$s/1,%1$s/2,%1$s/1}", key);
        int[] counts = new int[2];
        for (int i = 0; i < 2; i++)
            counts[i] = transaction(manager -> call(manager,
                "SELECT * FROM idem_consume_batch('eclipselink', CAST(? AS text[]))", messages).size());
        expect(counts[0] == 2 && counts[1] == 0,
            String.format("consumed: %d, then %d", counts[0], counts[1]));

        try {
            transaction(manager -> call(manager,
                "SELECT * FROM order_transition('orders', ?, ?)",
                placed[2], "DELIVERED"));
            expect(false, "not refused");
        } catch (PersistenceException e) {
            expect("ID201".equals(sqlstate(e)), String.format("refused: %s (%s, the SQLException among its causes)",
                sqlstate(e), e.getClass().getSimpleName()));
        }
        factory.close();
    }
}
