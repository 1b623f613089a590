// Orders by database/sql and lib/pq.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/lib/pq"
)

func place(tx *sql.Tx, reference, name string) (order int64, stock int, err error) {
	var customer int64
	err = tx.QueryRow("SELECT id FROM customer WHERE name = $1", name).Scan(&customer)
	if err == sql.ErrNoRows {
		err = tx.QueryRow("INSERT INTO customer (name) VALUES ($1) RETURNING id", name).Scan(&customer)
	}
	if err != nil {
		return
	}
	err = tx.QueryRow("INSERT INTO orders (reference, customer_id) VALUES ($1, $2) RETURNING id",
		reference, customer).Scan(&order)
	if err != nil {
		return
	}
	insert, err := tx.Prepare("INSERT INTO line (order_id, product, quantity) VALUES ($1, $2, 1)")
	if err != nil {
		return
	}
	for _, product := range []string{"bolt", "nut"} {
		if _, err = insert.Exec(order, product); err != nil {
			return
		}
	}
	err = tx.QueryRow("UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock").
		Scan(&stock)
	return
}

func attempt(db *sql.DB, key, reference, name string) (order int64, stock int, err error) {
	tx, err := db.Begin()
	if err != nil {
		return
	}
	defer tx.Rollback() // does nothing once it has committed
	if _, err = tx.Exec("SELECT idem_begin($1)", key); err != nil {
		return
	}
	if order, stock, err = place(tx, reference, name); err != nil {
		return
	}
	err = tx.Commit()
	return
}

// isLost says whether the connection was lost, of which lib/pq has no error of the server's.
func isLost(err error) bool {
	var refused *pq.Error
	return !errors.As(err, &refused) || strings.HasPrefix(string(refused.Code), "08")
}

func main() {
	db, err := sql.Open("postgres", "sslmode=disable") // the rest by PGHOST and so on
	if err != nil {
		panic(err)
	}
	requests, err := strconv.Atoi(os.Getenv("REQUESTS"))
	if err != nil {
		requests = 40
	}
	run := fmt.Sprintf("%d-%d", os.Getpid(), os.Getppid())
	for i := 0; i <= requests; i++ { // the first once more
		reference := fmt.Sprintf("%s/%d", run, i%requests)
		for attempts := 1; ; attempts++ {
			order, stock, err := attempt(db, reference, reference, fmt.Sprintf("%s %d", run, i%requests%4))
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
