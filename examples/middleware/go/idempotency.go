// Idempotency-Key for net/http, by database/sql and lib/pq: see docs/http.md.
package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"

	"github.com/lib/pq"
)

const claim = `SELECT outcome, greatest(1, ceil(extract(epoch FROM lease_until - now())))::int, response ||
	jsonb_build_object('headers', coalesce(response->'headers', '{}') || '{"Idempotent-Replayed": "true"}')
	FROM idem_claim(idem_http_key($1), scope => $2, wait => false, request => jsonb_build_object('method', $3::text, 'target',
	$4::text, 'body', CASE WHEN $5::text ~ 'json' THEN nullif(convert_from($6, 'UTF8'), '')::jsonb ELSE to_jsonb(sha256($6)) END))`
const refuse = `SELECT s, CASE WHEN s < 500 THEN $2 ELSE 'Not executed' END FROM idem_http_status($1) AS s`

// An Answer is what a key keeps of a response, with the body as Base64.
type Answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"body"`
}

// Work is what a handler does, in a transaction that is not its own.
type Work func(*sql.Tx, *http.Request) (Answer, error)

// Idempotency makes a handler of work that is to be done once under its key.
func Idempotency(db *sql.DB, tenant func(*http.Request) string, policy string, work Work) http.HandlerFunc {
	problem := func(status int, title string, seconds int) Answer {
		headers := map[string]string{"Content-Type": "application/problem+json"}
		if seconds > 0 {
			headers["Retry-After"] = strconv.Itoa(seconds)
		}
		body, _ := json.Marshal(map[string]any{"type": policy, "title": title, "status": status})
		return Answer{status, headers, body}
	}
	// What an error means; one that is none of the database's counts as the other.
	refusal := func(db interface{ QueryRow(string, ...any) *sql.Row }, err error, other pq.ErrorCode) Answer {
		status, title, refused := 503, "The database cannot be reached", &pq.Error{Code: other}
		errors.As(err, &refused)
		db.QueryRow(refuse, string(refused.Code), refused.Message).Scan(&status, &title)
		log.Print(err)
		return problem(status, title, status/503)
	}
	once := func(tx *sql.Tx, r *http.Request, body []byte) (answer Answer, err error) {
		state, kept, seconds, scope, key := "", []byte{}, 0, tenant(r), strings.Join(r.Header.Values("Idempotency-Key"), ", ")
		err = tx.QueryRow(claim, key, scope, r.Method, r.RequestURI, r.Header.Get("Content-Type"), body).Scan(&state, &seconds, &kept)
		if state == "in_progress" {
			return problem(409, "This Idempotency-Key is in progress", seconds), nil
		}
		if err == nil && state != "claimed" {
			err = json.Unmarshal(kept, &answer)
		}
		if err != nil || state != "claimed" {
			return answer, err
		}
		tx.Exec("SAVEPOINT work") // should that fail, what follows does, too
		answer, err = work(tx, r)
		if err != nil || answer.Status >= 400 {
			tx.Exec("ROLLBACK TO work") // what was written, not the claim
		}
		if err != nil {
			answer = refusal(tx, err, "XX000")
		}
		call := map[bool]string{false: "idem_complete", true: "idem_fail"}[answer.Status >= 400]
		kept, _ = json.Marshal(answer)
		_, err = tx.Exec("SELECT "+call+"(idem_http_key($1), $2, scope => $3)", key, kept, scope)
		return answer, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // nobody waits for an answer
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := problem(503, "The database cannot be reached", 1)
		if tx, err := db.Begin(); err == nil {
			defer tx.Rollback() // where the work panics
			answer, err = once(tx, r, body)
			if s := answer.Status; err == nil && s < 500 && s != 408 && s != 425 && s != 429 {
				err = tx.Commit()
			}
			tx.Rollback() // what was not committed: the key is free
			if err != nil {
				answer = refusal(db, err, "08006")
			}
		}
		for name, value := range answer.Headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(answer.Status)
		w.Write(answer.Body)
	}
}
