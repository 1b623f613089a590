// Orders over HTTP by net/http and database/sql, on 127.0.0.1:PORT: a request's key is its
// transaction's.
package main

import (
	"database/sql"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"

	_ "github.com/lib/pq"
)

var db *sql.DB

// inTransaction runs work as one transaction, under the key of the request if it has one.
func inTransaction(r *http.Request, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(r.Context(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing once it has committed
	// one that is empty is refused
	if keys := r.Header.Values("Idempotency-Key"); len(keys) > 0 {
		if _, err := tx.Exec("SELECT idem_begin($1, $2)", strings.Join(keys, ", "), tenant(r)); err != nil {
			return err
		}
	}
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Here belongs a check of the token.
func tenant(r *http.Request) string {
	return r.Header.Get("Authorization")
}

func place(w http.ResponseWriter, r *http.Request) {
	var wanted struct{ Reference, Customer string }
	var placed struct {
		Order int64 `json:"order"`
		Stock int   `json:"stock"`
	}
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	err := inTransaction(r, func(tx *sql.Tx) error {
		var customer int64
		err := tx.QueryRow("INSERT INTO customer (name) VALUES ($1)"+
			" ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id", wanted.Customer).Scan(&customer)
		if err != nil {
			return err
		}
		err = tx.QueryRow("INSERT INTO orders (reference, customer_id) VALUES ($1, $2) RETURNING id",
			wanted.Reference, customer).Scan(&placed.Order)
		if err != nil {
			return err
		}
		return tx.QueryRow("UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock").
			Scan(&placed.Stock)
	})
	if err != nil {
		log.Print(err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(placed)
}

func main() {
	var err error
	if db, err = sql.Open("postgres", "sslmode=disable"); err != nil { // the rest by PGHOST and so on
		log.Fatal(err)
	}
	http.HandleFunc("/orders", place)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
