package databases

import (
	"context"
	"database/sql"
	"sync"

	"gorm.io/gorm"
)

// Reached says whether a database is reached; Err is nil if it is.
type Reached struct {
	// Of names a consumer or a participant whose database it is; empty: the process's own.
	Of  string
	Err error
}

// Reach asks all databases for a sign of life, at once. One all of whose connections are
// in use is alive: it would have to be waited for.
func (s *Set) Reach(ctx context.Context) []Reached {
	out := make([]Reached, len(s.all))
	var asking sync.WaitGroup
	for i, db := range s.all {
		out[i].Of = s.userOf(db)
		asking.Go(func() { out[i].Err = reach(ctx, db) })
	}
	asking.Wait()
	return out
}

// userOf names who uses a database that is not the process's own.
func (s *Set) userOf(db *gorm.DB) string {
	if s.o.Own != nil && poolOf(s.o.Own) == poolOf(db) {
		return ""
	}
	for _, u := range s.uses {
		if u.DB != nil && poolOf(u.DB) == poolOf(db) {
			return u.String()
		}
	}
	return ""
}

// poolOf is the pool of a handle, or nil where it is of another kind.
func poolOf(db *gorm.DB) *sql.DB {
	pool, err := db.DB()
	if err != nil {
		return nil
	}
	return pool
}

func reach(ctx context.Context, db *gorm.DB) error {
	pool := poolOf(db)
	if pool == nil {
		return nil // what it is, its owner knows
	}
	if st := pool.Stats(); st.MaxOpenConnections > 0 && st.InUse >= st.MaxOpenConnections {
		return nil
	}
	return pool.PingContext(ctx)
}
