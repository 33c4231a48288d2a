package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// stores is what a process knows of its databases.
type stores struct {
	// own is the identity of Options.DB, identities are those of all; read at the
	// start, and not changed once the worker is ready.
	own        string
	identities map[*gorm.DB]string

	// differ says that another process of the group has another database.
	differ *atomic.Bool

	mu     *sync.Mutex
	told   map[string]bool       // what has been said of other databases
	clocks map[*gorm.DB]*dbClock // how the databases' clocks are
}

func newStores() stores {
	return stores{identities: map[*gorm.DB]string{}, differ: &atomic.Bool{},
		mu: &sync.Mutex{}, told: map[string]bool{}, clocks: map[*gorm.DB]*dbClock{}}
}

// meet finds that the tables are there, and whose they are.
func (w *Worker) meet(ctx context.Context, db *gorm.DB) error {
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
	w.stores.identities[db], w.stores.clocks[db] = id, &dbClock{}
	if db == w.o.DB {
		w.stores.own = id
	}
	return nil
}

// otherDatabase returns an error if work that was begun in a database is nothing
// that this process can know of.
func (w *Worker) otherDatabase(want string) error {
	if want == "" || w.stores.own == "" || want == w.stores.own {
		return nil
	}
	err := &barrier.OtherDatabaseError{Have: w.stores.own, Want: want}
	w.tellOther(err)
	return err
}

// tellOther says, once for each, that this process is asked about another database.
func (w *Worker) tellOther(err *barrier.OtherDatabaseError) {
	w.tellOnce("asked "+err.Want, holdfast.Alert{Kind: holdfast.AlertOtherDatabase, Group: w.o.Group,
		Reason: fmt.Sprintf("process %s was asked about work that was begun in another database: %v", w.o.Instance, err),
		Remedy: otherRemedy})
}

const otherRemedy = "stop the process that has the wrong database, or give its environment " +
	"a prefix or virtual host of its own; what waits goes on by itself once a process with the right database runs"

func (w *Worker) tellOnce(what string, a holdfast.Alert) {
	w.stores.mu.Lock()
	known := w.stores.told[what] || len(w.stores.told) >= 100 // who asks cannot make it grow without end
	w.stores.told[what] = true
	w.stores.mu.Unlock()
	if known {
		return
	}
	w.o.Logger.Error("different databases", "reason", a.Reason, "remedy", a.Remedy)
	w.alerts.Alert(a)
}

// showDatabases lets others see which databases this process has.
func (w *Worker) showDatabases() (hide func()) {
	return w.broker.ShowDatabases(func() []broker.DatabaseStatus {
		var out []broker.DatabaseStatus
		w.stores.mu.Lock()
		defer w.stores.mu.Unlock()
		for _, db := range w.databases() {
			s := broker.DatabaseStatus{Identity: w.stores.identities[db], Consumers: w.consumersOf(db)}
			if db == w.o.DB {
				s.Group = w.o.Group
			}
			if c := w.stores.clocks[db]; c != nil {
				s.ClockAhead, s.Clock = c.ahead, c.problem.String()
			}
			out = append(out, s)
		}
		return out
	})
}

// consumersOf names the consumers and participants whose rows are in db.
func (w *Worker) consumersOf(db *gorm.DB) (names []string) {
	for _, c := range w.consumers {
		if c.Handle != nil && c.DB == db {
			names = append(names, c.Name)
		}
	}
	for _, p := range w.participants {
		if p.DB == db {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// peersEvery is how often the other processes are asked for their databases.
const peersEvery = 10 * time.Minute

// comparePeers finds processes of this one's group, and of its consumers, that have
// another database, or this one's name.
func (w *Worker) comparePeers(ctx context.Context) error {
	next := time.NewTimer(peersEvery)
	defer next.Stop()
	for {
		next.Reset(peersEvery)
		w.compareInstallations(ctx)
		if answers, err := w.broker.Ask(ctx, 0); err == nil {
			differ := false
			for _, p := range answers {
				differ = w.comparePeer(p) || differ
			}
			w.stores.differ.Store(differ)
			if w.compareNames(answers) {
				next.Reset(w.lookAgain)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
	}
}

// comparePeer reports whether p is of this process's group, and has another database.
func (w *Worker) comparePeer(p broker.ProcessStatus) (differs bool) {
	for _, theirs := range p.Databases {
		if theirs.Identity == "" {
			continue
		}
		if theirs.Group != "" && theirs.Group == w.o.Group && w.stores.own != "" && theirs.Identity != w.stores.own {
			differs = true
			w.tellOnce("group "+theirs.Identity, holdfast.Alert{Kind: holdfast.AlertOtherDatabase, Group: w.o.Group,
				Reason: fmt.Sprintf("processes of group %s use different databases: %s has %s, %s has %s",
					w.o.Group, w.o.Instance, w.stores.own, p.Instance, theirs.Identity),
				Remedy: otherRemedy})
		}
		for db, ours := range w.stores.identities {
			for _, c := range w.consumersOf(db) {
				if ours != theirs.Identity && slices.Contains(theirs.Consumers, c) {
					w.tellOnce("consumer "+c+" "+theirs.Identity,
						holdfast.Alert{Kind: holdfast.AlertOtherDatabase, Consumer: c, Group: cmp.Or(w.o.Group, theirs.Group),
							Reason: fmt.Sprintf("processes of consumer %s use different databases: %s has %s, %s has %s; a message that "+
								"is delivered again takes effect again in the other one", c, w.o.Instance, ours, p.Instance, theirs.Identity),
							Remedy: otherRemedy})
				}
			}
		}
	}
	return differs
}

// ownDatabase is what the steps need to know of the worker's databases.
type ownDatabase struct{ w *Worker }

func (d ownDatabase) Own() string { return d.w.stores.own }

func (d ownDatabase) Other(want string) error { return d.w.otherDatabase(want) }

func (d ownDatabase) TellOther(err *barrier.OtherDatabaseError) { d.w.tellOther(err) }

func (d ownDatabase) Differ() bool { return d.w.stores.differ.Load() }
