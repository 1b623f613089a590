// Orders over HTTP by Spring's transactions and JPA, on 127.0.0.1:PORT: a request's key is
// its transaction's.

import com.sun.net.httpserver.*;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.*;
import java.util.concurrent.Executors;
import java.util.regex.*;
import javax.persistence.*;
import org.springframework.orm.jpa.EntityManagerFactoryUtils;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.support.TransactionCallback;
import org.springframework.transaction.support.TransactionTemplate;

class SpringShop {
    /** Runs work as one transaction, under the key of the request that this thread serves. */
    static class KeyedTransaction extends TransactionTemplate {
        /** Key and tenant; a filter sets them. */
        static final ThreadLocal<List<String>> KEY = new ThreadLocal<>();

        final EntityManagerFactory factory;

        KeyedTransaction(PlatformTransactionManager manager, EntityManagerFactory factory) {
            super(manager);
            this.factory = factory;
        }

        @Override
        public <T> T execute(TransactionCallback<T> work) {
            return super.execute(status -> {
                if (KEY.get() != null && status.isNewTransaction()) {
                    Query begin = EntityManagerFactoryUtils.getTransactionalEntityManager(factory)
                        .createNativeQuery("SELECT CAST(idem_begin(?, ?) AS text)");
                    begin.setParameter(1, KEY.get().get(0)).setParameter(2, KEY.get().get(1)).getResultList();
                }
                return work.doInTransaction(status);
            });
        }
    }

    static EntityManagerFactory factory = Persistence.createEntityManagerFactory("spring", Map.of(
        "javax.persistence.jdbc.url", String.format("jdbc:postgresql://%s:%s/%s",
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")),
        "javax.persistence.jdbc.user", System.getenv("PGUSER")));
    static KeyedTransaction transaction = new KeyedTransaction(new JpaTransactionManager(factory), factory);

    static Object row(String sql, Object... values) {
        Query query = EntityManagerFactoryUtils.getTransactionalEntityManager(factory).createNativeQuery(sql);
        for (int i = 0; i < values.length; i++) query.setParameter(i + 1, values[i]);
        return query.getSingleResult();
    }

    static String place(String reference, String name) {
        return transaction.execute(status -> {
            Object customer = row("INSERT INTO customer (name) VALUES (?)"
                + " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id", name);
            Object order = row("INSERT INTO orders (reference, customer_id) VALUES (?, ?) RETURNING id",
                reference, customer);
            Object stock = row("UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock");
            return String.format("{\"order\": %s, \"stock\": %s}", order, stock);
        });
    }

    static String field(String json, String name) {
        Matcher matcher = Pattern.compile("\"" + name + "\": *\"([^\"]*)\"").matcher(json);
        matcher.find();
        return matcher.group(1);
    }

    static void serve(HttpExchange exchange) throws IOException {
        String body = new String(exchange.getRequestBody().readAllBytes());
        Headers headers = exchange.getRequestHeaders();
        int status = 503;
        byte[] answer = {};
        String key = headers.getFirst("Idempotency-Key");
        if (key != null) KeyedTransaction.KEY.set(List.of(key, headers.getFirst("Authorization")));
        try {
            answer = place(field(body, "reference"), field(body, "customer")).getBytes();
            status = 201;
        } catch (RuntimeException e) {
            System.err.println(e);
        } finally {
            KeyedTransaction.KEY.remove();
        }
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, answer.length == 0 ? -1 : answer.length);
        exchange.getResponseBody().write(answer);
        exchange.close();
    }

    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(
            new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.createContext("/orders", SpringShop::serve);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
