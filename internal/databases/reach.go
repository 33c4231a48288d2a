package databases

import (
	"context"
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
		if db != s.o.Own {
			out[i].Of = s.consumersOf(db)[0]
		}
		asking.Go(func() { out[i].Err = reach(ctx, db) })
	}
	asking.Wait()
	return out
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
