package steps

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// recorder notes what it is asked to store at a time, and fails for those of a transaction.
type recorder struct {
	stepBroker
	asked  [][]string
	until  map[string]time.Time
	fails  string
	reason error
}

func (r *recorder) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	var asked []string
	for i, h := range hs {
		asked = append(asked, h.TxID)
		r.until[h.TxID], _ = ctxs[i].Deadline()
		var err error
		if h.TxID == r.fails {
			<-ctxs[i].Done()
			err = r.reason
		}
		done(i, err)
	}
	r.asked = append(r.asked, asked)
}

// waiter is a caller who waits for a half message until a time; the zero time: no longer.
type waiter struct {
	Caller
	until time.Time
	heard []error
}

func (w *waiter) HalfDeadline() (time.Time, bool) { return w.until, !w.until.IsZero() }
func (w *waiter) HalfStored()                     { w.heard = append(w.heard, nil) }
func (w *waiter) HalfNotStored(err error)         { w.heard = append(w.heard, err) }

type waiters map[string]*waiter

func (ws waiters) Waiting(txID string) Caller {
	if w := ws[txID]; w != nil {
		return w
	}
	return nil
}

// TestHalvesAreStoredAtOnce, each within its own caller's time, who is told.
func TestHalvesAreStoredAtOnce(t *testing.T) {
	t.Parallel()
	past, later := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	notSent := errors.New("not sent")
	b := &recorder{until: map[string]time.Time{}, fails: "late", reason: notSent}
	callers := waiters{"late": {until: past}, "waits": {until: later}, "left": {}}
	s := &Steps{Broker: b, Callers: callers}
	var hs []holdfast.Half
	var ctxs []context.Context
	for _, id := range []string{"late", "waits", "left", "elsewhere"} {
		hs, ctxs = append(hs, holdfast.Half{TxID: id}), append(ctxs, t.Context())
	}
	errs := make([]error, len(hs))
	s.PublishHalves(ctxs, hs, func(i int, err error) { errs[i] = err })
	require.Equal(t, [][]string{{"late", "waits", "left", "elsewhere"}}, b.asked)
	require.Equal(t, map[string]time.Time{"late": past, "waits": later, "left": {}, "elsewhere": {}}, b.until)
	require.ErrorIs(t, errs[0], notSent)
	require.ErrorIs(t, errs[0], context.DeadlineExceeded, "the error says that the caller's time is up")
	require.NoError(t, errors.Join(errs[1:]...))
	require.Equal(t, []error{errs[0]}, callers["late"].heard)
	require.Equal(t, []error{nil}, callers["waits"].heard)
	require.Empty(t, callers["left"].heard)
}
