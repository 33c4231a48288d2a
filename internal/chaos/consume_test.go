package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
)

// insideHandler is inside a consumer's transaction, its writes done.
const insideHandler = "chaos.inside-handler"

// ledger is the consumer's name.
const ledger = "ledger"

// accounts is how many there are in each database; each begins with opening units.
const (
	accounts = 1000
	opening  = 1_000_000
)

// schema is that of both databases. No key keeps an effect from happening twice:
// that is the product's to do.
const schema = `
CREATE TABLE accounts (id int PRIMARY KEY, units bigint NOT NULL);
CREATE TABLE orders (id text NOT NULL, ref text NOT NULL, units bigint NOT NULL, body text NOT NULL);
CREATE TABLE effects (id text NOT NULL, ref text NOT NULL, units bigint NOT NULL, body text NOT NULL);`

// account is the account of a message.
func account(id string) int { return int(hash(id) % accounts) }

func hash(id string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return h.Sum32()
}

// ladder has more delays than any outage takes.
func ladder() []time.Duration {
	return []time.Duration{time.Second, time.Second, 3 * time.Second, 3 * time.Second, 10 * time.Second, 10 * time.Second, 10 * time.Second,
		30 * time.Second, 30 * time.Second, 30 * time.Second}
}

// consume adds the consumer. It fails at some messages the first time that the
// process sees them.
func consume(w *worker.Worker) {
	var failed sync.Map
	w.Consume(worker.Consumer{Name: ledger, Topics: []string{"order.#"}, Ladder: ladder(),
		Handle: func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
			units, err := unitsOf(m.Body)
			if err != nil {
				return holdfast.Permanent(err)
			}
			moved := tx.Exec(`WITH effect AS (INSERT INTO effects VALUES (?, ?, ?, ?))
UPDATE accounts SET units = units + ? WHERE id = ?`, m.ID, m.Key, units, string(m.Body), units, account(m.ID))
			if moved.Error != nil {
				return moved.Error
			}
			if moved.RowsAffected != 1 {
				return holdfast.Permanent(fmt.Errorf("there is no account %d", account(m.ID)))
			}
			fault.Point(insideHandler)
			if hash(m.ID)%307 == 0 {
				if _, before := failed.LoadOrStore(m.ID, true); !before {
					return errors.New("a random failure")
				}
			}
			return nil
		}})
}
