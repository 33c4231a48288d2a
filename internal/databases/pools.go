package databases

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// DefaultConcurrency is how many messages a subscription handles at once if it does
// not say.
const DefaultConcurrency = 16

// ownConnections are what the worker needs beside its handlers: for check-backs and
// for retention.
const ownConnections = 2

// Pool is a limited pool of connections that handlers share. Each handler has a
// connection for as long as it runs, and may need another one, to send: so one is
// kept from them, or all could wait for each other until their deadlines.
type Pool struct {
	most  int // connections, as SetMaxOpenConns says
	users []string
	want  int // handlers at a time, if there were connections
	slots chan struct{}
}

// findPools returns the limited pools of the consumers and participants.
func (s *Set) findPools() map[*sql.DB]*Pool {
	found := map[*sql.DB]*Pool{}
	for _, u := range s.uses {
		conns := poolOf(u.DB)
		if conns == nil {
			continue // it has no pool that could be asked
		}
		most := conns.Stats().MaxOpenConnections
		if most <= 0 {
			continue
		}
		if u.Concurrency == 0 {
			u.Concurrency = DefaultConcurrency
		}
		p := found[conns]
		if p == nil {
			p = &Pool{most: most}
			found[conns] = p
		}
		p.users = append(p.users, u.String())
		p.want += u.Concurrency
	}
	for _, p := range found {
		p.slots = make(chan struct{}, p.room())
	}
	return found
}

// room is how many handlers may run at a time.
func (p *Pool) room() int { return max(1, p.most-1) }

// tooSmall says what is wrong with the pool; "" if nothing is.
func (p *Pool) tooSmall() (what, remedy string) {
	users := strings.Join(slices.Sorted(slices.Values(p.users)), ", ")
	remedy = fmt.Sprintf("raise SetMaxOpenConns to %d, and to %d if they call Send, or lower Concurrency",
		p.want+ownConnections, 2*p.want+ownConnections)
	switch {
	case p.want <= p.room():
		return "", ""
	case p.most == 1:
		return fmt.Sprintf("%s would handle %d messages at a time, and their pool has 1 connection: "+
			"they handle one at a time, and a Send inside a handler never gets a connection", users, p.want), remedy
	}
	return fmt.Sprintf("%s would handle %d messages at a time, and their pool has %d connections: "+
		"they handle %d at a time, so that one is left for what they send", users, p.want, p.most, p.room()), remedy
}

// ComparePools finds pools that are smaller than what uses them, and says so. Call it
// before anything is handled.
func (s *Set) ComparePools() {
	s.pools = s.findPools()
	for _, t := range s.SmallPools() {
		s.o.Logger.Warn(t.What, "remedy", t.Remedy)
	}
}

// SmallPools are the pools that are too small.
func (s *Set) SmallPools() (out []broker.Trouble) {
	for _, p := range s.pools {
		if what, remedy := p.tooSmall(); what != "" {
			out = append(out, broker.Trouble{What: what, Remedy: remedy})
		}
	}
	return out
}

// poolOf is the pool of a handle, or nil where it is of another kind.
func poolOf(db *gorm.DB) *sql.DB {
	pool, err := db.DB()
	if err != nil {
		return nil
	}
	return pool
}

// Pool is the limited pool of a database; nil if it is not limited.
func (s *Set) Pool(db *gorm.DB) *Pool {
	if db == nil {
		return nil
	}
	return s.pools[poolOf(db)]
}

// Concurrency is how many handlers a subscription runs at a time.
func (p *Pool) Concurrency(want int) int {
	if p == nil {
		return want
	}
	if want == 0 {
		want = DefaultConcurrency
	}
	return min(want, p.room())
}

// Handling calls handle when there is a connection for it. That there is none for
// so long is no fault of the message.
func (p *Pool) Handling(
	handle func(context.Context, broker.Delivery) error) func(context.Context, broker.Delivery) error {
	if p == nil || len(p.users) == 1 { // its concurrency is the limit
		return handle
	}
	return func(ctx context.Context, d broker.Delivery) error {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
			return handle(ctx, d)
		case <-ctx.Done():
			_, remedy := p.tooSmall()
			return broker.Wait(&holdfast.UnavailableError{Part: "PostgreSQL", Remedy: remedy,
				Err: fmt.Errorf("all %d connections of the pool are in use: %w", p.most, ctx.Err())})
		}
	}
}
