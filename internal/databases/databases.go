// Package databases is what a process does with its databases beside the work of its
// handlers: it finds whose they are, compares their clocks with its own, deletes old rows,
// and keeps connections of a limited pool for what handlers send. Package worker fills the
// Set with the databases of its consumers and participants.
package databases

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// Options are what a process wants of its databases.
type Options struct {
	Group, Instance string
	// Own is the database of the local transactions; it may be nil.
	Own *gorm.DB
	// Retention is how long rows are kept.
	Retention time.Duration
	// OutcomesNeeded reports whether old outcome rows may still have to answer a
	// check-back.
	OutcomesNeeded func(ctx context.Context) bool
	Logger         *slog.Logger
	Alert          func(holdfast.Alert)
}

// Use is what has rows in a database: a consumer or a participant.
type Use struct {
	Kind, Name  string
	DB          *gorm.DB
	Concurrency int // how many messages it handles at once; 0: the default
}

func (u Use) String() string { return u.Kind + " " + u.Name }

// Set is the databases of a process, and what it knows of them.
type Set struct {
	// Now is this process's clock. It is compared with the databases' every ClockEvery,
	// and old rows are deleted every SweepEvery. Change them before anything runs.
	Now                    func() time.Time
	ClockEvery, SweepEvery time.Duration

	o    Options
	uses []Use
	all  []*gorm.DB // each once

	// own is the identity of o.Own, identities are those of all; read at the start, and
	// not changed once the worker is ready.
	own        string
	identities map[*gorm.DB]string
	pools      map[*sql.DB]*Pool // set before anything is handled

	// differ says that another process of the group has another database.
	differ atomic.Bool

	mu     sync.Mutex
	told   map[string]bool       // what has been said of other databases
	clocks map[*gorm.DB]*dbClock // how the databases' clocks are
}

// New returns the databases of a process: o.Own, until Use adds others.
func New(o Options) *Set {
	s := &Set{Now: time.Now, ClockEvery: 5 * time.Minute, SweepEvery: time.Hour, o: o,
		identities: map[*gorm.DB]string{}, told: map[string]bool{}, clocks: map[*gorm.DB]*dbClock{}}
	s.add(o.Own)
	return s
}

// Use adds the database of a consumer or a participant. Call it before anything runs.
func (s *Set) Use(u Use) {
	s.uses = append(s.uses, u)
	s.add(u.DB)
}

func (s *Set) add(db *gorm.DB) {
	if db != nil && !slices.Contains(s.all, db) {
		s.all = append(s.all, db)
	}
}

// All returns each database once.
func (s *Set) All() []*gorm.DB { return s.all }

// Meet finds that the tables are there, and whose they are.
func (s *Set) Meet(ctx context.Context, db *gorm.DB) error {
	if err := barrier.CheckMigrated(ctx, db); err != nil {
		return err
	}
	if err := barrier.CheckPooler(ctx, db); err != nil {
		return err
	}
	id, err := barrier.Identity(ctx, db)
	if err != nil {
		return err
	}
	s.identities[db], s.clocks[db] = id, &dbClock{}
	if db == s.o.Own {
		s.own = id
	}
	return nil
}

// Other returns an error if work that was begun in a database is nothing
// that this process can know of.
func (s *Set) Other(want string) error {
	if want == "" || s.own == "" || want == s.own {
		return nil
	}
	err := &barrier.OtherDatabaseError{Have: s.own, Want: want}
	s.TellOther(err)
	return err
}

// TellOther says, once for each, that this process is asked about another database.
func (s *Set) TellOther(err *barrier.OtherDatabaseError) {
	s.tellOnce("asked "+err.Want, holdfast.Alert{Kind: holdfast.AlertOtherDatabase, Group: s.o.Group,
		Reason: fmt.Sprintf("process %s was asked about work that was begun in another database: %v", s.o.Instance, err),
		Remedy: otherRemedy})
}

const otherRemedy = "stop the process that has the wrong database, or give its environment " +
	"a prefix or virtual host of its own; what waits goes on by itself once a process with the right database runs"

func (s *Set) tellOnce(what string, a holdfast.Alert) {
	s.mu.Lock()
	known := s.told[what] || len(s.told) >= 100 // who asks cannot make it grow without end
	s.told[what] = true
	s.mu.Unlock()
	if known {
		return
	}
	s.o.Logger.Error("different databases", "reason", a.Reason, "remedy", a.Remedy)
	s.o.Alert(a)
}

// Statuses are what others may see of the databases.
func (s *Set) Statuses() (out []broker.DatabaseStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, db := range s.all {
		status := broker.DatabaseStatus{Identity: s.identities[db], Consumers: s.consumersOf(db)}
		if db == s.o.Own {
			status.Group = s.o.Group
		}
		if c := s.clocks[db]; c != nil {
			status.ClockAhead, status.Clock = c.ahead, c.problem.String()
		}
		out = append(out, status)
	}
	return out
}

// consumersOf names the consumers and participants whose rows are in db.
func (s *Set) consumersOf(db *gorm.DB) (names []string) {
	for _, u := range s.uses {
		if u.DB == db {
			names = append(names, u.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Own is the identity of the database of the local transactions; empty: there is none.
func (s *Set) Own() string { return s.own }

// Differ reports whether another process of the group has another database.
func (s *Set) Differ() bool { return s.differ.Load() }

// Compare finds processes of this one's group, and of its consumers, that have another
// database.
func (s *Set) Compare(answers []broker.ProcessStatus) {
	differ := false
	for _, p := range answers {
		differ = s.comparePeer(p) || differ
	}
	s.differ.Store(differ)
}

// comparePeer reports whether p is of this process's group, and has another database.
func (s *Set) comparePeer(p broker.ProcessStatus) (differs bool) {
	for _, theirs := range p.Databases {
		if theirs.Identity == "" {
			continue
		}
		if theirs.Group != "" && theirs.Group == s.o.Group && s.own != "" && theirs.Identity != s.own {
			differs = true
			s.tellOnce("group "+theirs.Identity, holdfast.Alert{Kind: holdfast.AlertOtherDatabase, Group: s.o.Group,
				Reason: fmt.Sprintf("processes of group %s use different databases: %s has %s, %s has %s",
					s.o.Group, s.o.Instance, s.own, p.Instance, theirs.Identity),
				Remedy: otherRemedy})
		}
		for db, ours := range s.identities {
			for _, c := range s.consumersOf(db) {
				if ours != theirs.Identity && slices.Contains(theirs.Consumers, c) {
					s.tellOnce("consumer "+c+" "+theirs.Identity,
						holdfast.Alert{Kind: holdfast.AlertOtherDatabase, Consumer: c, Group: cmp.Or(s.o.Group, theirs.Group),
							Reason: fmt.Sprintf("processes of consumer %s use different databases: %s has %s, %s has %s; a message that "+
								"is delivered again takes effect again in the other one", c, s.o.Instance, ours, p.Instance, theirs.Identity),
							Remedy: otherRemedy})
				}
			}
		}
	}
	return differs
}
