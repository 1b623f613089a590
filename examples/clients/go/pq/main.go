// The shop by database/sql and lib/pq.
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/lib/pq"
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

func place(db *sql.DB, key string, order order, lose bool) (placed placed, err error) {
	tx, err := db.Begin()
	if err != nil {
		return
	}
	defer tx.Rollback() // does nothing once it has committed
	if lose {
		if _, err = tx.Exec("SET LOCAL idem.lose_ack = 1"); err != nil {
			return
		}
	}
	data, err := json.Marshal(order)
	if err != nil {
		return
	}
	var result []byte
	err = tx.QueryRow("SELECT outcome, replayed, result FROM idem_upsert($1, 'orders', $2)", key, data).
		Scan(&placed.outcome, &placed.replayed, &result)
	if err != nil {
		return
	}
	if err = json.Unmarshal(result, &placed.row); err != nil {
		return
	}
	err = tx.Commit()
	return
}

func move(db *sql.DB, call string, values ...interface{}) (moved moved, err error) {
	err = db.QueryRow("SELECT outcome, from_state, to_state, version FROM "+call, values...).
		Scan(&moved.outcome, &moved.from, &moved.to, &moved.version)
	return
}

func main() {
	db, err := sql.Open("postgres", "sslmode=disable") // the rest by PGHOST and so on
	must(err)
	defer db.Close()
	var key, parcel string
	must(db.QueryRow("SELECT idem_new_key(), gen_random_uuid()").Scan(&key, &parcel))

	order := order{Customer: "lib/pq", Total: 440}
	_, err = place(db, key, order, true)
	if err == nil {
		expect(false, "nothing was lost")
	}
	fmt.Printf("lost: %v\n", err)
	placed, err := place(db, key, order, false)
	must(err)
	expect(placed.outcome == "inserted" && placed.replayed, "placed: inserted, replayed")
	order = placed.row

	m, err := move(db, "order_transition('orders', $1, $2, expected_version => $3, key => $4)",
		order.ID, "PROCESSING", order.Version, key+"/PROCESSING")
	must(err)
	expect(m.outcome == "applied" && m.version == 2,
		fmt.Sprintf("moved order: %s -> %s, version %d", m.from, m.to, m.version))

	_, err = db.Exec("INSERT INTO parcels VALUES ($1, $2)", parcel, "lib/pq")
	must(err)
	m, err = move(db, "order_transition('parcels', $1, $2)", parcel, "PROCESSING")
	must(err)
	expect(m.version == 2, fmt.Sprintf("moved parcel: %s -> %s, version %d", m.from, m.to, m.version))

	messages := []string{key + "/1", key + "/2", key + "/1"}
	var counts [2]int
	for i := range counts {
		rows, err := db.Query("SELECT * FROM idem_consume_batch('lib/pq', $1)", pq.Array(messages))
		must(err)
		for rows.Next() {
			counts[i]++
		}
		must(rows.Err())
	}
	expect(counts == [2]int{2, 0}, fmt.Sprintf("consumed: %d, then %d", counts[0], counts[1]))

	_, err = move(db, "order_transition('orders', $1, $2)", order.ID, "DELIVERED")
	var refused *pq.Error
	expect(errors.As(err, &refused) && refused.Code == "ID201",
		fmt.Sprintf("refused: %s (*pq.Error.Code)", refused.Code))
}
