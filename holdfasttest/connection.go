package holdfasttest

import (
	"database/sql"
	"errors"
	"time"

	"gorm.io/gorm"
)

// oneConnection is a plugin of gorm's that finds statements which would wait for
// the only connection for ever.
type oneConnection struct{ pool *sql.DB }

// Name names the plugin.
func (oneConnection) Name() string { return "holdfasttest:one-connection" }

// Initialize has every statement looked at first.
func (o oneConnection) Initialize(db *gorm.DB) error {
	c := db.Callback()
	return errors.Join(
		c.Create().Before("*").Register(o.Name(), o.look),
		c.Query().Before("*").Register(o.Name(), o.look),
		c.Update().Before("*").Register(o.Name(), o.look),
		c.Delete().Before("*").Register(o.Name(), o.look),
		c.Row().Before("*").Register(o.Name(), o.look),
		c.Raw().Before("*").Register(o.Name(), o.look),
	)
}

// inUseFor is how long another goroutine may have the connection.
const inUseFor = 2 * time.Second

var errInUse = errors.New("holdfasttest: the database in memory has one connection, and a transaction has it: " +
	"a function that gets a tx must write with the tx, not with the database")

func (o oneConnection) look(db *gorm.DB) {
	if db.Statement.ConnPool != gorm.ConnPool(o.pool) {
		return // in the transaction
	}
	for deadline := time.Now().Add(inUseFor); o.pool.Stats().InUse > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			_ = db.AddError(errInUse)
			return
		}
	}
}
