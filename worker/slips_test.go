package worker_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

type typedError struct{ msg string }

func (e *typedError) Error() string { return e.msg }

func validated() *typedError { return nil }

type unspeakable struct{ v any }

func (e unspeakable) Error() string  { panic(e.v) }
func (e unspeakable) String() string { panic(e.v) }

// slips are what a function does by mistake, and what the call that it happened in
// must say.
var slips = map[string]struct {
	do   func() error
	says string
}{
	"typed nil":         {func() error { return validated() }, "a nil *worker_test.typedError as an error"},
	"wrapped typed nil": {func() error { return fmt.Errorf("order: %w", validated()) }, "a nil *worker_test.typedError as an error"},
	"Error panics":      {func() error { return unspeakable{"no"} }, "one of its methods panics"},
	"panic":             {func() error { panic("overboard") }, "panic: overboard"},
	"panic with nil":    {func() error { panic(nil) }, "panic"}, //nolint:govet // on purpose
	"odd panic":         {func() error { panic(unspeakable{unspeakable{1}}) }, "panic"},
	"Goexit":            {func() error { runtime.Goexit(); return nil }, "ended its goroutine"},
}

// A function that slips is its own call's failure, with words, wherever it is called;
// those beside it go on.
func TestSlips(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	slip := func(tx *gorm.DB, name, id string) error {
		if tx != nil {
			if err := write(tx, id, "slipped"); err != nil {
				return err
			}
		}
		if slip, ok := slips[name]; ok {
			return slip.do()
		}
		return nil
	}
	step := func(do bool) func(context.Context, *gorm.DB, *journey) error {
		return func(_ context.Context, tx *gorm.DB, j *journey) error {
			if do != (j.Room == "do") {
				return nil
			}
			return slip(tx, j.By, j.ID)
		}
	}
	def := travel(saga.Local("a", step(true), step(false)).Retry(once),
		saga.Local("no", func(context.Context, *gorm.DB, *journey) error { return saga.Refuse("sold out") }, nil).NoUndo())
	seated := travel(saga.Message("seat", "seat.take", "seat.leave").Retry(once))
	seated.Name = "seated"
	o := s.options()
	s.consumers["seat.take"], s.consumers["payments"], s.consumers["plain"] = true, true, true
	w := s.runWith(o, func(w *worker.Worker) {
		w.Saga(def)
		w.Saga(seated)
		w.Local("place", func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error { return slip(tx, m.Key, m.ID) })
		w.Participate(worker.Participant{Topic: "seat.take", UndoTopic: "seat.leave", Tries: 1, Ladder: noLadder, Breaker: holdfast.BreakerOptions{Off: true},
			Do: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (any, error) { return nil, slip(tx, j.By, j.ID) })})
		w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.#"}, Tries: 1, Ladder: noLadder, Breaker: holdfast.BreakerOptions{Off: true},
			Handle: func(_ context.Context, tx *gorm.DB, m holdfast.Message) error { return slip(tx, m.Key, m.ID) }})
		w.Consume(worker.Consumer{Name: "plain", Topics: []string{"order.#"}, Tries: 1, Ladder: noLadder, Breaker: holdfast.BreakerOptions{Off: true},
			HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error { return slip(nil, m.Key, m.ID) }})
	})
	var wg sync.WaitGroup
	for name, slip1 := range slips {
		wg.Go(func() {
			says := func(where string, err error) {
				require.ErrorContains(t, err, slip1.says, "%s in %s", name, where)
			}
			for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
				for where, send := range map[string]func(m holdfast.Message) error{
					"Send": func(m holdfast.Message) error {
						_, err := w.Send(s.ctx(), m, func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error { return slip(tx, m.Key, m.ID) })
						return err
					},
					"Start": func(m holdfast.Message) error { _, err := w.Start(s.ctx(), "place", m); return err },
				} {
					for _, id := range []string{"", newID()} {
						err := send(holdfast.Message{Topic: "nobody.hears", AllowUnrouted: true, ID: id, Key: name, Lane: lane, Body: []byte("x")})
						says(string(lane)+" "+where, err)
						require.ErrorIs(t, err, holdfast.ErrRolledBack, "%s in %s", name, where)
					}
				}
			}
			_, err := s.travels(w, def, func(j *journey) { j.By, j.Room = name, "do" })
			require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
			says("a step", err)
			_, err = s.travels(w, seated, func(j *journey) { j.By = name })
			require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
			says("a participant", err)
			m := order(newID())
			m.Key = name
			_, err = w.Send(s.ctx(), m, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
			require.NoError(t, err)
			for _, consumer := range []string{"payments", "plain"} {
				says(consumer, fmt.Errorf("%s", s.awaitLetter(consumer, m.ID, workflows.Parked).Failure.Reason))
			}
		})
	}
	wg.Wait()
	keyed := def
	keyed.Key = func(journey) string { panic("no key") }
	_, err := worker.StartSaga(s.ctx(), w.Worker, keyed, journey{})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "panic: no key")
	require.Zero(t, s.count(s.orders, "SELECT count(*) FROM log"), "each was rolled back")
	id := newID()
	_, err = w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err, "and all goes on")
}

// A handle that a function keeps after it returned says so, and does not touch the
// transaction that has the connection by then.
func TestHandleThatIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	pool, err := s.orders.DB()
	require.NoError(t, err)
	w := s.producer()
	pool.SetMaxOpenConns(2)
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		var kept []*gorm.DB
		send := func(local worker.Local) error {
			m := order(newID())
			m.Lane = lane
			_, err := w.Send(s.ctx(), m, local)
			return err
		}
		require.NoError(t, send(func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			kept = append(kept, tx, tx.Session(&gorm.Session{PrepareStmt: true}), tx.Session(&gorm.Session{NewDB: true}))
			return insert(ctx, tx, m)
		}))
		id := newID()
		require.NoError(t, send(func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			for _, old := range kept {
				err := old.WithContext(ctx).Exec("INSERT INTO orders (id) VALUES (?)", id).Error
				require.Error(t, err)
				require.True(t, strings.Contains(err.Error(), "already been committed or rolled back"), err)
				require.Error(t, old.WithContext(ctx).Exec("COMMIT").Error)
			}
			return insert(ctx, tx, m)
		}))
		require.Zero(t, s.ordered(id))
	}
}
