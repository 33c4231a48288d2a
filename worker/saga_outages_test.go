package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// travellers are callers that start sagas without end, a fifth of which have to go
// back.
type travellers struct {
	s      *site
	w      *running
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	begun    map[string]bool // true: it has to go back
	ended    int
	unsure   int      // starts that returned an error
	surprise []string // ends that nobody may be told of
}

func (s *site) travellers(w *running) *travellers {
	s.t.Helper()
	seed := rand.Uint64()
	s.t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(context.Background())
	l := &travellers{s: s, w: w, cancel: cancel, begun: map[string]bool{}}
	for n := range callers {
		l.wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			for ctx.Err() == nil {
				l.travel(newID(), rnd.IntN(5) == 0)
			}
		})
	}
	s.t.Cleanup(l.stop)
	return l
}

func (l *travellers) travel(id string, back bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l.mu.Lock()
	l.begun[id] = back
	l.mu.Unlock()
	starting, stop := context.WithTimeout(ctx, 20*time.Second)
	h, err := worker.StartSaga(starting, l.w.Worker, trek, trekker(id, back))
	stop()
	started := err == nil
	if started {
		_, err = h.Wait(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var away *holdfast.UnavailableError
	switch {
	case started && err == nil && !back, started && errors.Is(err, holdfast.ErrSagaCompensated):
		l.ended++
	case !started && errors.As(err, &away):
		l.unsure++
	default:
		l.surprise = append(l.surprise, fmt.Sprintf("%s (back: %v, started: %v): %v", id, back, started, err))
	}
}

// more waits until n more have ended.
func (l *travellers) more(n int) {
	l.s.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ended
	}
	target := count() + n
	until(l.s.t, fmt.Sprintf("%d more sagas", n), func() bool { return count() >= target })
}

func (l *travellers) stop() {
	l.cancel()
	l.wg.Wait()
}

// verify ends the load, and requires of each saga that all of it was done, or all
// undone, each once and in order.
func (l *travellers) verify() {
	t, s := l.s.t, l.s
	t.Helper()
	l.stop()
	t.Logf("%d sagas, %d starts without an answer", len(l.begun), l.unsure)
	require.Empty(t, l.surprise)
	completed, early := 0, 0
	for id, back := range l.begun {
		_, err := worker.JoinSaga(l.w.Worker, trek, id).Wait(s.ctx())
		done := s.chronicle(id)
		switch {
		case errors.Is(err, holdfast.ErrNotFound):
			require.Empty(t, done, "it was never started")
		case err == nil:
			require.False(t, back)
			require.Equal(t, trekDone, done)
			completed++
		default:
			require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
			requireUndone(t, done)
			if !back { // the server was away for longer than its steps are tried
				early++
			}
		}
	}
	t.Logf("%d completed, %d went back early", completed, early)
	require.Positive(t, completed)
	for _, log := range []struct{ name, left string }{{"a step done", "do %"}, {"a step undone", "undo %"}} {
		for _, id := range append(s.strings(s.orders, twice(log.left)), s.strings(s.effects, twice(log.left))...) {
			t.Errorf("%s twice in saga %s", log.name, id)
		}
	}
}

func twice(like string) string {
	return "SELECT saga FROM log WHERE what LIKE '" + like + "' GROUP BY saga, what HAVING count(*) > 1"
}

// requireUndone requires that each Do has its Undo, the last first.
func requireUndone(t testing.TB, log []string) {
	t.Helper()
	var dos, undos []string
	for _, what := range log {
		if step, undone := strings.CutPrefix(what, "undo "); undone {
			undos = append(undos, step)
		} else {
			require.Empty(t, undos, "it went forward after it had turned back: %v", log)
			dos = append(dos, strings.TrimPrefix(what, "do "))
		}
	}
	slices.Reverse(undos)
	require.Equal(t, dos, undos, "%v", log)
}

// TestSagaOutages kills each server in the midst of sagas. The load must resume by
// itself, and every saga come to its right end.
func TestSagaOutages(t *testing.T) {
	t.Parallel()
	st := stacktest.Private(t)
	for _, row := range []struct {
		name string
		part *stack.Part
		move func(s, other *site) // what is not to be hit
	}{
		{"RabbitMQ", st.RabbitMQ, nil},
		{"Temporal", st.Temporal, nil},
		{"the sagas' PostgreSQL", st.PostgreSQL, func(s, other *site) { s.effects, s.at.EffectsURL = other.effects, other.at.EffectsURL }},
		{"the participant's PostgreSQL", st.PostgreSQL, func(s, other *site) { s.orders, s.at.OrdersURL = other.orders, other.at.OrdersURL }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sagaSiteOn(t, st)
			if row.move != nil {
				row.move(s, sagaSite(t))
			}
			p := deadlySeats(s.effects)
			s.participants(p)
			w := s.runWith(outageOptions(laneOf("traced"), s.options()), func(w *worker.Worker) { w.Saga(trek) })
			l := s.travellers(w)
			l.more(30)
			if row.part == st.RabbitMQ { // see TestOutages
				require.NoError(t, row.part.Restart(s.ctx()))
				l.more(30)
			}
			require.NoError(t, row.part.Kill())
			require.NoError(t, row.part.Start(s.ctx()))
			l.more(50)
			l.verify()
		})
	}
}
