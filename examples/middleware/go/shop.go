// A shop by net/http, on 127.0.0.1:PORT and the database that libpq's variables name.
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

// Here belongs a check of the token.
func tenant(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func answer(status int, headers map[string]string, content any) (Answer, error) {
	headers["Content-Type"] = "application/json"
	body, err := json.Marshal(content)
	return Answer{status, headers, body}, err
}

func place(tx *sql.Tx, r *http.Request) (Answer, error) {
	var order struct{ Items json.RawMessage }
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		return answer(400, map[string]string{}, map[string]string{"error": err.Error()})
	}
	var id int
	var soldOut sql.NullString
	err := tx.QueryRow("SELECT id, sold_out FROM place_order($1, $2)", tenant(r), []byte(order.Items)).Scan(&id, &soldOut)
	if err != nil {
		return Answer{}, err
	}
	if soldOut.Valid {
		return answer(409, map[string]string{}, map[string]string{"error": soldOut.String + " is sold out"})
	}
	return answer(201, map[string]string{"Location": fmt.Sprint("/orders/", id)},
		map[string]any{"order": id, "items": order.Items})
}

func main() {
	db, err := sql.Open("postgres", "sslmode=disable connect_timeout=5")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(8)
	http.Handle("/orders", Idempotency(db, tenant, "/.well-known/idempotency", place))
	http.HandleFunc("/.well-known/idempotency", func(w http.ResponseWriter, r *http.Request) {
		var policy []byte
		if err := db.QueryRow("SELECT idempotency_policy()").Scan(&policy); err != nil {
			http.Error(w, "Service Unavailable", 503)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(policy)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
