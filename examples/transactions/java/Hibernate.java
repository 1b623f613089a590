// Orders by Hibernate, by its own sessions.

import java.sql.SQLException;
import java.util.*;
import javax.persistence.*;
import org.hibernate.*;
import org.hibernate.cfg.Configuration;

class Hibernate {
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

    static SessionFactory factory = new Configuration()
        .addAnnotatedClass(Customer.class)
        .addAnnotatedClass(Product.class)
        .addAnnotatedClass(Order.class)
        .addAnnotatedClass(Line.class)
        .setProperty("hibernate.dialect", "org.hibernate.dialect.PostgreSQLDialect")
        .setProperty("hibernate.connection.driver_class", "org.postgresql.Driver")
        .setProperty("hibernate.connection.url", String.format("jdbc:postgresql://%s:%s/%s?prepareThreshold=0",
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")))
        .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
        // this version's pool would hand out a connection that is broken
        .setProperty("hibernate.connection.pool_size", "0")
        .buildSessionFactory();

    static String place(Session session, String reference, String name) {
        Customer customer = (Customer) session.createQuery("FROM Customer WHERE name = :name")
            .setParameter("name", name).uniqueResult();
        if (customer == null) {
            customer = new Customer();
            customer.name = name;
            session.save(customer);
        }
        Order order = new Order();
        order.reference = reference;
        order.customer = customer;
        session.save(order);
        Product bolt = (Product) session.get(Product.class, "bolt", LockOptions.UPGRADE);
        bolt.stock--;
        for (Product product : List.of(bolt, (Product) session.get(Product.class, "nut"))) {
            Line line = new Line();
            line.order = order;
            line.product = product;
            session.save(line);
        }
        session.flush();
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
            Session session = factory.openSession();
            Transaction transaction = session.beginTransaction();
            try {
                session.createSQLQuery("SELECT CAST(idem_begin(?) AS text) AS begun").setParameter(0, key).list();
                String answer = place(session, reference, name);
                transaction.commit();
                return answer;
            } catch (HibernateException e) {
                try {
                    transaction.rollback();
                } catch (HibernateException lost) {
                    // there is no connection to roll back on
                }
                if (!isLost(e) || attempt == 40) throw e;
            } finally {
                session.close();
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
