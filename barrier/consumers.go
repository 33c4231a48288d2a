package barrier

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// KnownConsumer is a consumer that processes of the database's producer group have
// seen.
type KnownConsumer struct {
	Name string `json:"name"`
	// Topics are what its queue is bound to.
	Topics []string `json:"topics"`
	// Seen is how long ago it was seen, by the database's clock.
	Seen time.Duration `json:"seen"`
	// Remade is how long ago its queue was missing and was made again; 0: never.
	// What says in words what happened then.
	Remade time.Duration `json:"remade,omitempty"`
	What   string        `json:"what,omitempty"`
}

// Rows are written in the order of their keys: two processes that write the same
// ones wait for each other, and never crosswise.
const (
	saveConsumers = `INSERT INTO holdfast_consumers (prefix, name, topics)
SELECT $1, c.name, c.topics FROM json_to_recordset($2::json) AS c (name text, topics text) ORDER BY c.name
ON CONFLICT (prefix, name) DO UPDATE SET topics = excluded.topics, seen_at = excluded.seen_at`
	noteRemade = `UPDATE holdfast_consumers SET remade_at = now(), remade = $1
WHERE prefix = $2 AND name IN (SELECT json_array_elements_text($3::json))`
	knownConsumers = `SELECT name, topics, extract(epoch FROM now() - seen_at)::double precision AS seen,
coalesce(extract(epoch FROM now() - remade_at), 0)::double precision AS remade, remade AS what
FROM holdfast_consumers WHERE prefix = $1 ORDER BY name`
	forgetConsumer = `DELETE FROM holdfast_consumers WHERE prefix = $1 AND name = $2`
)

// SaveConsumers keeps consumers that were seen just now, in one statement.
func SaveConsumers(ctx context.Context, db *gorm.DB, prefix string, cs []KnownConsumer) error {
	rows := make([]map[string]string, len(cs))
	for i, c := range cs {
		topics, err := json.Marshal(c.Topics)
		if err != nil {
			return err
		}
		rows[i] = map[string]string{"name": c.Name, "topics": string(topics)}
	}
	list, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	_, err = onConsumers(ctx, db, "keep the known consumers", saveConsumers, prefix, string(list))
	return err
}

// KnownConsumers returns the consumers that are kept for a prefix, by name.
func KnownConsumers(ctx context.Context, db *gorm.DB, prefix string) ([]KnownConsumer, error) {
	if err := checkDB(db); err != nil {
		return nil, err
	}
	const doing = "read the known consumers"
	rows, err := plain(db.Statement.ConnPool).QueryContext(ctx, knownConsumers, prefix)
	if err != nil {
		return nil, explain(db, doing, err)
	}
	defer func() { _ = rows.Close() }()
	seconds := func(s float64) time.Duration { return max(0, time.Duration(s*float64(time.Second))) }
	out := []KnownConsumer{}
	for rows.Next() {
		var c KnownConsumer
		var topics string
		var seen, remade float64
		if err := rows.Scan(&c.Name, &topics, &seen, &remade, &c.What); err != nil {
			return nil, explain(db, doing, err)
		}
		c.Seen, c.Remade = seconds(seen), seconds(remade)
		if err := json.Unmarshal([]byte(topics), &c.Topics); err != nil {
			return nil, fmt.Errorf("%s: the topics of %s: %w", doing, c.Name, err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(db, doing, err)
	}
	return out, nil
}

// NoteRemade keeps that the queues of these consumers were missing and were made
// again; what says so in words.
func NoteRemade(ctx context.Context, db *gorm.DB, prefix string, names []string, what string) error {
	list, err := json.Marshal(names)
	if err != nil {
		return err
	}
	_, err = onConsumers(ctx, db, "note that queues were made again", noteRemade, what, prefix, string(list))
	return err
}

// ForgetConsumer removes a consumer from those that are kept, and reports whether
// it was among them.
func ForgetConsumer(ctx context.Context, db *gorm.DB, prefix, name string) (was bool, err error) {
	n, err := onConsumers(ctx, db, "forget consumer "+name, forgetConsumer, prefix, name)
	return n > 0, err
}

// onConsumers runs a statement past gorm's callbacks, which could send it to a replica.
func onConsumers(ctx context.Context, db *gorm.DB, doing, query string, args ...any) (int64, error) {
	if err := checkDB(db); err != nil {
		return 0, err
	}
	n, err := exec(ctx, db.Statement.ConnPool, query, args...)
	if err != nil {
		return 0, explain(db, doing, err)
	}
	return n, nil
}
