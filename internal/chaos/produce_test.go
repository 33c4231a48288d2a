package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// insideLocal is inside a local transaction, its writes done.
const insideLocal = "chaos.inside-local"

// payload is a message's body.
type payload struct {
	Units  int    `json:"units"`
	Number string `json:"number,omitempty"` // that the local transaction made
}

var errRefused = errors.New("a random failure")

// options makes o those of a producer: a crash costs seconds.
func (c childConfig) options(o *worker.Options, log *slog.Logger) (client.Client, error) {
	temporal, err := client.NewLazyClient(client.Options{HostPort: c.Temporal, Namespace: c.Namespace, Logger: sdklog.NewStructuredLogger(log)})
	if err != nil {
		return nil, err
	}
	o.Group, o.Temporal, o.Namespace, o.Lane, o.Tuning.HalfQueues = c.Group, temporal, c.Namespace, holdfast.Express, halfQueues
	o.CheckAfter, o.Timeouts.Lock, o.Timeouts.Reach, o.Timeouts.Task = checkAfter, 500*time.Millisecond, time.Second, 5*time.Second
	o.CheckBack = transactions.Schedule{Delays: []time.Duration{time.Second, 2 * time.Second, 5 * time.Second}, MaxChecks: 1000}
	return temporal, nil
}

// producer makes calls, and writes down what it is told.
type producer struct {
	c       childConfig
	journal *journal
	begun   []bool // by number
	again   []call
	next    atomic.Int64
	ended   atomic.Int64
}

// newProducer reads what the processes before it have begun. Calls with a chosen ID
// whose end they did not see are repeated.
func newProducer(c childConfig) (*producer, error) {
	p := &producer{c: c, begun: make([]bool, c.Calls)}
	past, err := readJournal(c.Journal)
	if err != nil {
		return nil, err
	}
	for _, r := range past {
		planned, err := planned(c.Seed, r.Begun.Ref)
		if err != nil {
			return nil, err
		}
		p.begun[planned.N] = true
		if r.Ended == nil && planned.ID != "" {
			p.again = append(p.again, planned.again())
		}
	}
	// One that was repeated before has an end, or its repetition is repeated.
	p.again = slices.DeleteFunc(p.again, func(c call) bool {
		return slices.ContainsFunc(past, func(r *record) bool { return r.Begun.Ref == c.Ref })
	})
	p.journal, err = openJournal(c.Journal)
	return p, err
}

// produce makes all calls that were not begun, and says how it gets on.
func (p *producer) produce(ctx context.Context, w *worker.Worker) {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				n := int(p.next.Add(1)) - 1
				switch {
				case n < len(p.again):
					p.send(ctx, w, p.again[n])
				case n-len(p.again) >= p.c.Calls:
					return
				case !p.begun[n-len(p.again)]:
					p.make(ctx, w, n-len(p.again))
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-done:
			say(report{Ended: int(p.ended.Swap(0)), Finished: ctx.Err() == nil})
			return
		case <-every.C:
			if n := int(p.ended.Swap(0)); n > 0 {
				say(report{Ended: n})
			}
		}
	}
}

// make makes the nth calls.
func (p *producer) make(ctx context.Context, w *worker.Worker, n int) {
	calls, inTurn := newCalls(p.c.Seed, p.c.Slot, n)
	var all sync.WaitGroup
	for _, c := range calls {
		if inTurn {
			p.send(ctx, w, c)
		} else {
			all.Go(func() { p.send(ctx, w, c) })
		}
	}
	all.Wait()
	p.ended.Add(1)
}

// send makes one call. The end of the process is no end of its caller's patience.
func (p *producer) send(ctx context.Context, w *worker.Worker, c call) {
	ctx = context.WithoutCancel(ctx)
	switch c.Trouble {
	case late:
		late, cancel := context.WithTimeout(ctx, c.Patience)
		defer cancel()
		ctx = late
	case cancelled:
		gone, cancel := context.WithCancel(ctx)
		defer time.AfterFunc(c.Patience, cancel).Stop()
		defer cancel()
		ctx = gone
	}
	ms := make([]holdfast.Message, len(c.Units))
	for i, units := range c.Units {
		ms[i] = holdfast.Message{Topic: "order.placed", Key: c.Ref, Body: payload{Units: units}.bytes()}
		if c.Traced {
			ms[i].Lane = holdfast.Traced
		}
	}
	ms[0].ID = c.ID
	p.journal.write(entry{Ref: c.Ref, ID: c.ID})
	var ran atomic.Bool
	receipt, err := w.SendAll(ctx, ms, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		ran.Store(true)
		return c.local(ctx, tx, ms)
	})
	p.journal.write(told(c.Ref, receipt, ran.Load(), err))
}

// told is what is written of a call's end.
func told(ref string, r holdfast.Receipt, ran bool, err error) entry {
	e := entry{Ref: ref, ID: r.TxID, Resolution: r.Resolution, Ran: ran}
	if err != nil {
		e.Error = err.Error()
	}
	var unavailable *holdfast.UnavailableError
	switch {
	case err == nil:
		e.Told = toldCommitted
	case errors.Is(err, holdfast.ErrUndecided):
		e.Told = toldUndecided
	case errors.Is(err, holdfast.ErrDeliveryPending):
		e.Told = toldPending
	case errors.Is(err, holdfast.ErrRolledBack):
		e.Told = toldRolledBack
	case errors.Is(err, holdfast.ErrDuplicate):
		e.Told = toldDuplicate
	case errors.Is(err, holdfast.ErrInvalid), errors.Is(err, holdfast.ErrTooLarge), errors.Is(err, holdfast.ErrNotRunning),
		errors.Is(err, holdfast.ErrNotStored), errors.As(err, &unavailable):
		e.Told = toldNothing
	default:
		e.Told = toldOther
	}
	return e
}

// local is the local transaction: it moves units out of accounts.
func (c call) local(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
	if c.Trouble == slow {
		select {
		case <-time.After(3 * checkAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i, m := range ms {
		if c.Changes {
			m.Body = payload{Units: c.Units[i], Number: "N" + m.ID}.bytes()
		}
	}
	// In one order, so that no two wait for each other.
	sorted := slices.SortedFunc(slices.Values(ms), func(a, b *holdfast.Message) int { return cmp.Compare(account(a.ID), account(b.ID)) })
	for _, m := range sorted {
		units, err := unitsOf(m.Body)
		if err != nil {
			return err
		}
		moved := tx.Exec(`WITH placed AS (INSERT INTO orders VALUES (?, ?, ?, ?))
UPDATE accounts SET units = units - ? WHERE id = ?`, m.ID, c.Ref, units, string(m.Body), units, account(m.ID))
		if moved.Error != nil {
			return moved.Error
		}
		if moved.RowsAffected != 1 {
			return fmt.Errorf("there is no account %d", account(m.ID))
		}
	}
	fault.Point(insideLocal)
	switch c.Trouble {
	case refuses:
		return errRefused
	case panics:
		panic("a random panic")
	}
	return nil
}

func (p payload) bytes() []byte {
	out, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return out
}

func unitsOf(body []byte) (int, error) {
	var p payload
	err := json.Unmarshal(body, &p)
	return p.Units, err
}
