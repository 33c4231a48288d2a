package worker_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// journey is the state of the sagas here.
type journey struct {
	ID    string `json:"id"`
	Room  string `json:"room,omitempty"`
	Seat  string `json:"seat,omitempty"`
	Paid  bool   `json:"paid,omitempty"`
	Price int    `json:"price,omitempty"`
	By    string `json:"by,omitempty"`
}

func journeyID(j journey) string { return j.ID }

// sagaSite is a site with a log in each of its databases, of what was done.
func sagaSite(t testing.TB) *site {
	t.Helper()
	return sagaSiteOn(t, stacktest.Shared(t))
}

func sagaSiteOn(t testing.TB, st *stack.Stack) *site {
	t.Helper()
	s := newSiteOn(t, st)
	for _, db := range []*gorm.DB{s.orders, s.effects} {
		require.NoError(t, db.Exec("CREATE TABLE log (n serial, at timestamptz DEFAULT clock_timestamp(), saga text, what text)").Error)
	}
	t.Cleanup(s.deleteSagaQueues)
	return s
}

// deleteSagaQueues deletes those that only sagas have made.
func (s *site) deleteSagaQueues() {
	queues := []string{"replies." + group}
	for _, delay := range []string{"1s", "5s", "30s", "100ms"} {
		queues = append(queues, "retry."+delay)
	}
	for i := range queues {
		queues[i] = s.at.Prefix + "." + queues[i]
	}
	stacktest.DeleteQueues(s.t, s.at.AMQPURL, queues...)
}

// write writes a line into the log, in a step's transaction.
func write(tx *gorm.DB, id, format string, args ...any) error {
	return tx.Exec("INSERT INTO log (saga, what) VALUES (?, ?)", id, fmt.Sprintf(format, args...)).Error
}

// logged is what was done for a saga, in order.
func (s *site) logged(db *gorm.DB, id string) []string {
	s.t.Helper()
	out := []string{}
	require.NoError(s.t, db.Raw("SELECT what FROM log WHERE saga = ? ORDER BY n", id).Scan(&out).Error)
	return out
}

// chronicle is what was done for a saga in both databases, in order. Their servers
// run on one machine, and have one clock.
func (s *site) chronicle(id string) []string {
	s.t.Helper()
	type line struct {
		At   time.Time
		What string
	}
	var all []line
	for _, db := range []*gorm.DB{s.orders, s.effects} {
		var some []line
		require.NoError(s.t, db.Raw("SELECT at, what FROM log WHERE saga = ?", id).Scan(&some).Error)
		all = append(all, some...)
	}
	slices.SortFunc(all, func(x, y line) int { return x.At.Compare(y.At) })
	out := []string{}
	for _, l := range all {
		out = append(out, l.What)
	}
	return out
}

// local is a local step that writes its name into the log, and its Undo.
func local(name string) saga.StepDef {
	return saga.Local(name,
		func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "do %s", name) },
		func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "undo %s", name) })
}

// does is a local step that does what do says.
func does(name string, do func(j *journey) error) saga.StepDef {
	return saga.Local(name,
		func(_ context.Context, tx *gorm.DB, j *journey) error {
			if err := write(tx, j.ID, "do %s", name); err != nil {
				return err
			}
			return do(j)
		},
		func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "undo %s", name) })
}

// once is a retry policy without retries.
var once = saga.Retry{Attempts: 1}

// seats takes part with a seat for everybody; refuse, if not nil, says who gets
// none.
func (s *site) seats(do func(j journey) error) worker.Participant {
	return worker.Participant{Topic: "seat.take", UndoTopic: "seat.leave", DB: s.effects, Tries: 1, Ladder: []time.Duration{},
		Do: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (string, error) {
			if err := write(tx, j.ID, "do seat"); err != nil {
				return "", err
			}
			if do != nil {
				return "4a", do(j)
			}
			return "4a", nil
		}),
		Undo: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, j journey) (any, error) {
			return nil, write(tx, j.ID, "undo seat")
		})}
}

// seat is the step that takes it.
func seat() saga.StepDef {
	return saga.Message("seat", "seat.take", "seat.leave").Receive(saga.Into(func(j *journey, seat string) error {
		j.Seat = seat
		return nil
	}))
}

// travel is a saga of these steps.
func travel(steps ...saga.Step[journey]) saga.Saga[journey] {
	return saga.Saga[journey]{Name: "travel", Key: journeyID, Steps: steps}
}

// agency runs a worker with these sagas.
func (s *site) agency(defs ...saga.Definition) *running {
	s.t.Helper()
	return s.runWith(s.options(), func(w *worker.Worker) {
		for _, def := range defs {
			w.Saga(def)
		}
	})
}

// participants runs a worker that only takes part, in a process of its own as far
// as it can tell.
func (s *site) participants(ps ...worker.Participant) *running {
	s.t.Helper()
	o := worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Timeouts: worker.Timeouts{Drain: 20 * time.Second}}
	return s.runWith(o, func(w *worker.Worker) {
		for _, p := range ps {
			s.consumers[p.Topic] = true
			w.Participate(p)
		}
	})
}

// travels starts a saga with a key of its own and waits for it.
func (s *site) travels(w *running, def saga.Saga[journey], change ...func(*journey)) (journey, error) {
	s.t.Helper()
	j := journey{ID: newID()}
	for _, c := range change {
		c(&j)
	}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(s.t, err)
	return h.Wait(s.ctx())
}

// stood requires that err says how a saga stands, and returns it.
func stood(t testing.TB, err, condition error) *holdfast.SagaError {
	t.Helper()
	require.ErrorIs(t, err, condition)
	var e *holdfast.SagaError
	require.ErrorAs(t, err, &e)
	return e
}

// steer sends an operator's Update to a saga.
func (s *site) steer(id, update string, change ...func(*sagas.Request)) (sagas.Status, error) {
	s.t.Helper()
	req := sagas.Request{Operator: "ann", Reason: "looked at the books"}
	for _, c := range change {
		c(&req)
	}
	var status sagas.Status
	handle, err := s.temporal.UpdateWorkflow(s.ctx(), client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: update,
		Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return status, err
	}
	return status, handle.Get(s.ctx(), &status)
}

// sagaStatus asks a saga.
func (s *site) sagaStatus(id string) sagas.Status {
	s.t.Helper()
	var status sagas.Status
	stacktest.Query(s.t, s.temporal, id, workflows.QueryStatus, &status)
	return status
}
