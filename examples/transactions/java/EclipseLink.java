// Orders by JPA, as EclipseLink has it.

import java.sql.SQLException;
import java.util.*;
import javax.persistence.*;

class EclipseLink {
    @Entity(name = "Customer") @Table(name = "customer")
    public static class Customer {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
        String name;
    }

    @Entity @Table(name = "product")
    public static class Product {
        @Id String name;
        int stock;
    }

    @Entity @Table(name = "orders")
    public static class Order {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
        String reference;
        @ManyToOne @JoinColumn(name = "customer_id") Customer customer;
    }

    @Entity @Table(name = "line")
    public static class Line {
        // a number a row: a block of them would be numbers of the client's, others at each attempt
        @Id @GeneratedValue(strategy = GenerationType.SEQUENCE, generator = "line")
        @SequenceGenerator(name = "line", sequenceName = "line_id_seq", allocationSize = 1)
        Long id;
        @ManyToOne @JoinColumn(name = "order_id") Order order;
        @ManyToOne @JoinColumn(name = "product") Product product;
        int quantity = 1;
    }

    static EntityManagerFactory factory = Persistence.createEntityManagerFactory("shop", Map.of(
        "javax.persistence.jdbc.url", String.format("jdbc:postgresql://%s:%s/%s?prepareThreshold=0",
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")),
        "javax.persistence.jdbc.user", System.getenv("PGUSER")));

    static String place(EntityManager manager, String reference, String name) {
        List<Customer> found = manager.createQuery(
            "SELECT c FROM Customer c WHERE c.name = :name", Customer.class)
            .setParameter("name", name).getResultList();
        Customer customer = found.isEmpty() ? new Customer() : found.get(0);
        if (found.isEmpty()) {
            customer.name = name;
            manager.persist(customer);
        }
        Order order = new Order();
        order.reference = reference;
        order.customer = customer;
        manager.persist(order);
        Product bolt = manager.find(Product.class, "bolt", LockModeType.PESSIMISTIC_WRITE);
        bolt.stock--;
        for (Product product : List.of(bolt, manager.find(Product.class, "nut"))) {
            Line line = new Line();
            line.order = order;
            line.product = product;
            manager.persist(line);
        }
        manager.flush();
        return order.id + " " + bolt.stock;
    }

    static boolean isLost(Throwable e) {
        for (; e != null; e = e.getCause())
            if (e instanceof SQLException) {
                String sqlstate = ((SQLException) e).getSQLState();
                return sqlstate != null && sqlstate.startsWith("08");
            }
        return false;
    }

    static String request(String key, String reference, String name) {
        for (int attempt = 1; ; attempt++) {
            EntityManager manager = factory.createEntityManager();
            try {
                manager.getTransaction().begin();
                manager.createNativeQuery("SELECT CAST(idem_begin(?) AS text)").setParameter(1, key).getResultList();
                String answer = place(manager, reference, name);
                manager.getTransaction().commit();
                return answer;
            } catch (PersistenceException e) {
                if (!isLost(e) || attempt == 40) throw e;
            } finally {
                if (manager.getTransaction().isActive()) manager.getTransaction().rollback();
                manager.close();
            }
        }
    }

    public static void main(String[] args) {
        String run = UUID.randomUUID().toString();
        int requests = Integer.parseInt(System.getenv().getOrDefault("REQUESTS", "40"));
        for (int i = 0; i <= requests; i++) {  // the first once more
            String reference = run + "/" + i % requests;
            String answer = request(reference, reference, run + " " + i % requests % 4);
            System.out.println("placed " + reference + " " + answer);
        }
        factory.close();
    }
}
