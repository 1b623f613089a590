// The shop by pgx.
//
// pgx asks the server which type a parameter has, and refuses a value of another.
// Where a function takes several, that is text; so an id that is none says what it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

type order struct {
	ID       int64   `json:"id,omitempty"`
	Customer string  `json:"customer"`
	Total    float64 `json:"total"`
	Version  int64   `json:"version,omitempty"`
}

type placed struct {
	outcome  string
	replayed bool
	row      order
}

type moved struct {
	outcome, from, to string
	version           int64
}

var ctx = context.Background()

func expect(right bool, what string) {
	if !right {
		fmt.Fprintln(os.Stderr, "wrong:", what)
		os.Exit(1)
	}
	fmt.Println(what)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// connect reads PGHOST and so on.
func connect() *pgx.Conn {
	connection, err := pgx.Connect(ctx, "")
	must(err)
	return connection
}

func place(key string, order order, lose bool) (placed placed, err error) {
	connection := connect()
	defer connection.Close(ctx)
	err = connection.BeginFunc(ctx, func(tx pgx.Tx) error {
		if lose {
			if _, err := tx.Exec(ctx, "SET LOCAL idem.lose_ack = 1"); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, "SELECT outcome, replayed, result FROM idem_upsert($1, 'orders', $2)",
			key, order).Scan(&placed.outcome, &placed.replayed, &placed.row)
	})
	return
}

func move(connection *pgx.Conn, sql string, values ...interface{}) (moved moved, err error) {
	err = connection.QueryRow(ctx, "SELECT outcome, from_state, to_state, version FROM "+sql, values...).
		Scan(&moved.outcome, &moved.from, &moved.to, &moved.version)
	return
}

func main() {
	db := connect()
	defer db.Close(ctx)
	var key, parcel string
	must(db.QueryRow(ctx, "SELECT idem_new_key(), gen_random_uuid()::text").Scan(&key, &parcel))

	order := order{Customer: "pgx", Total: 440}
	_, err := place(key, order, true)
	if err == nil {
		expect(false, "nothing was lost")
	}
	fmt.Printf("lost: %v\n", err)
	placed, err := place(key, order, false)
	must(err)
	expect(placed.outcome == "inserted" && placed.replayed, "placed: inserted, replayed")
	order = placed.row

	m, err := move(db, "order_transition('orders', $1::bigint, $2, expected_version => $3, key => $4)",
		order.ID, "PROCESSING", order.Version, key+"/PROCESSING")
	must(err)
	expect(m.outcome == "applied" && m.version == 2,
		fmt.Sprintf("moved order: %s -> %s, version %d", m.from, m.to, m.version))

	_, err = db.Exec(ctx, "INSERT INTO parcels VALUES ($1, $2)", parcel, "pgx")
	must(err)
	m, err = move(db, "order_transition('parcels', $1, $2)", parcel, "PROCESSING")
	must(err)
	expect(m.version == 2, fmt.Sprintf("moved parcel: %s -> %s, version %d", m.from, m.to, m.version))

	messages := []string{key + "/1", key + "/2", key + "/1"}
	var counts [2]int
	for i := range counts {
		rows, err := db.Query(ctx, "SELECT * FROM idem_consume_batch('pgx', $1)", messages)
		must(err)
		for rows.Next() {
			counts[i]++
		}
		must(rows.Err())
	}
	expect(counts == [2]int{2, 0}, fmt.Sprintf("consumed: %d, then %d", counts[0], counts[1]))

	_, err = move(db, "order_transition('orders', $1::bigint, $2)", order.ID, "DELIVERED")
	var refused *pgconn.PgError
	expect(errors.As(err, &refused) && refused.Code == "ID201",
		fmt.Sprintf("refused: %s (*pgconn.PgError.Code)", refused.Code))
}
