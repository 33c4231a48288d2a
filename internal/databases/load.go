package databases

import "database/sql"

// PoolStats are those of one pool of connections.
type PoolStats struct {
	// Name is the group's for the worker's own pool, else that of a consumer or participant
	// which uses it, the first one.
	Name string
	sql.DBStats
}

// Pools are the pools of the databases, each once. Call it once nothing is added any more.
func (s *Set) Pools() (out []PoolStats) {
	seen := map[*sql.DB]bool{}
	add := func(name string, pool *sql.DB) {
		if pool != nil && !seen[pool] {
			seen[pool] = true
			out = append(out, PoolStats{name, pool.Stats()})
		}
	}
	if s.o.Own != nil {
		name := s.o.Group
		if name == "" && len(s.uses) > 0 {
			name = s.uses[0].Name
		}
		add(name, poolOf(s.o.Own))
	}
	for _, u := range s.uses {
		if u.DB != nil {
			add(u.Name, poolOf(u.DB))
		}
	}
	return out
}
