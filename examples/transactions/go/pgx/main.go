// Orders by pgx.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

var ctx = context.Background()

func place(tx pgx.Tx, reference, name string) (order int64, stock int32, err error) {
	var customer int64
	err = tx.QueryRow(ctx, "SELECT id FROM customer WHERE name = $1", name).Scan(&customer)
	if errors.Is(err, pgx.ErrNoRows) {
		err = tx.QueryRow(ctx, "INSERT INTO customer (name) VALUES ($1) RETURNING id", name).Scan(&customer)
	}
	if err != nil {
		return
	}
	err = tx.QueryRow(ctx, "INSERT INTO orders (reference, customer_id) VALUES ($1, $2) RETURNING id",
		reference, customer).Scan(&order)
	if err != nil {
		return
	}
	batch := &pgx.Batch{}
	for _, product := range []string{"bolt", "nut"} {
		batch.Queue("INSERT INTO line (order_id, product, quantity) VALUES ($1, $2, 1)", order, product)
	}
	if err = tx.SendBatch(ctx, batch).Close(); err != nil {
		return
	}
	err = tx.QueryRow(ctx, "UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock").
		Scan(&stock)
	return
}

func attempt(key, reference, name string) (order int64, stock int32, err error) {
	connection, err := pgx.Connect(ctx, "") // by PGHOST and so on
	if err != nil {
		return
	}
	defer connection.Close(ctx)
	err = connection.BeginFunc(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT idem_begin($1)", key); err != nil {
			return err
		}
		order, stock, err = place(tx, reference, name)
		return err
	})
	return
}

// isLost says whether the connection was lost, of which pgx has no error of the server's.
func isLost(err error) bool {
	var refused *pgconn.PgError
	return !errors.As(err, &refused) || strings.HasPrefix(refused.Code, "08")
}

func main() {
	requests, err := strconv.Atoi(os.Getenv("REQUESTS"))
	if err != nil {
		requests = 40
	}
	run := fmt.Sprintf("%d-%d", os.Getpid(), os.Getppid())
	for i := 0; i <= requests; i++ { // the first once more
		reference := fmt.Sprintf("%s/%d", run, i%requests)
		for attempts := 1; ; attempts++ {
			order, stock, err := attempt(reference, reference, fmt.Sprintf("%s %d", run, i%requests%4))
			if err == nil {
				fmt.Println("placed", reference, order, stock)
				break
			}
			if !isLost(err) || attempts == 40 {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}
