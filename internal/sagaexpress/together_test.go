package sagaexpress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// lateDatabase does the first steps together, and answers as ends says; each step by itself has a
// database that does not answer.
type lateDatabase struct {
	Runner
	ends func() error
}

func (l lateDatabase) DoFirst(_ context.Context, _ barrier.BegunSaga, s activities.SagaStep,
	next func(core.Outcome) (*activities.SagaStep, json.RawMessage, error)) (did bool, err error) {
	for more := &s; more != nil; {
		if more, _, err = next(core.Outcome{Kind: core.OutcomeDone, Patch: []byte(`{}`)}); err != nil {
			return false, err
		}
	}
	return false, l.ends()
}

func (lateDatabase) Do(context.Context, activities.SagaStep) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeFailed, Excused: true, Error: "no connection"}}
}

// TestFirstStepsInDoubt: where the first steps may have been committed together, what goes back undoes
// all of them, whenever that is asked for; where they were rolled back, there is nothing to undo.
func TestFirstStepsInDoubt(t *testing.T) {
	plan, err := (&core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local, Undo: true},
		{Name: "b", Kind: core.Local, Undo: true}, {Name: "c", Kind: core.Local, Undo: true}, {Name: "approve", Kind: core.Wait}}}).Complete()
	require.NoError(t, err)
	lost := fmt.Errorf("%w: the connection is gone", barrier.ErrInDoubt)
	back := func(r *Run) { require.True(t, r.Leave(string(core.Undo), sagas.Request{Operator: "ann", Reason: "x"})) }
	for name, c := range map[string]struct {
		ends  func(r *Run) error
		undos []string
	}{
		"the answer to COMMIT is lost, and meanwhile it is asked back": {func(r *Run) error { back(r); return lost }, []string{"a", "b", "c"}},
		"a row of the saga was there, and meanwhile it is asked back":  {func(r *Run) error { back(r); return nil }, []string{"a", "b", "c"}},
		"the answer to COMMIT is lost":                                 {func(*Run) error { return lost }, []string{"a", "b", "c"}},
		"it does not come back":                                        {nil, []string{"a", "b", "c"}},
		"it was rolled back, and meanwhile it is asked back":           {func(r *Run) error { back(r); return errors.New("oops") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(Options{Most: 1, Database: func() string { return "" }, Logger: slog.New(slog.DiscardHandler),
					StepNames: func(core.Plan) bool { return true }})
				start := holdfast.SagaStart{Name: "travel", Version: 1, Key: "1", State: []byte(`{}`)}
				r := newRun(l, &plan, "saga/g/travel/1", holdfast.Half{TxID: "tx", Group: "g", At: time.Now(), Saga: &start})
				hold := make(chan struct{})
				defer close(hold)
				l.Use(lateDatabase{ends: func() error {
					if c.ends == nil {
						<-hold
						return lost
					}
					return c.ends(r)
				}}, false)
				require.NotEmpty(t, r.drive(t.Context()))
				if !r.applied { // it is asked back later, of the workflow
					m := core.Resume(&plan, *r.m.State())
					_, err := m.Apply(core.Event{Kind: core.Undo, At: time.Now(), Operator: "ann", Reason: "x"})
					require.NoError(t, err)
					r.m = m
				}
				var undos []string
				for _, s := range []string{"a", "b", "c"} {
					if slices.Contains(r.m.State().Stack, s) || r.m.Step(s).Status == core.Undoing {
						undos = append(undos, s)
					}
				}
				require.Equal(t, c.undos, undos, "%s", r.m.State().Phase)
				require.Equal(t, len(c.undos) == 0, r.m.State().Phase == core.Compensated)
			})
		})
	}
}
