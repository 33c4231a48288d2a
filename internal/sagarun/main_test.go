package sagarun_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

func TestMain(m *testing.M) {
	code := stacktest.Main(m)
	if code == 0 {
		if err := stacktest.Leaks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// trip is the state of the sagas here.
type trip struct {
	Who   string `json:"who,omitempty"`
	Room  string `json:"room,omitempty"`
	Seat  string `json:"seat,omitempty"`
	Train bool   `json:"train,omitempty"`
	Big   string `json:"big,omitempty"`
}

// database is a migrated database with a table of notes.
func database(t *testing.T) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(stacktest.Database(t, stacktest.Shared(t))), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	require.NoError(t, barrier.Migrate(t.Context(), db))
	require.NoError(t, db.Exec("CREATE TABLE notes (text text)").Error)
	return db
}

// note writes a line in a step's transaction.
func note(tx *gorm.DB, format string, args ...any) error {
	return tx.Exec("INSERT INTO notes VALUES (?)", fmt.Sprintf(format, args...)).Error
}

func notes(t *testing.T, db *gorm.DB) []string {
	t.Helper()
	out := []string{}
	require.NoError(t, db.Raw("SELECT text FROM notes ORDER BY text").Scan(&out).Error)
	return out
}

// wire is a broker that hands each call to a participant, and its reply to who
// waits for it.
type wire struct {
	mu          sync.Mutex
	sent        []holdfast.Message
	calls       []broker.SagaCall
	replies     []broker.SagaReply
	unheard     []broker.SagaReply // nobody waited for them
	err         error              // of publishing a call
	replyErr    error
	participant *sagarun.Participant
	waiters     *sagarun.Waiters
}

func (w *wire) PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error {
	w.mu.Lock()
	m.ID = call.Saga + call.Step
	w.sent, w.calls = append(w.sent, m), append(w.calls, call)
	err, participant := w.err, w.participant
	w.mu.Unlock()
	if err != nil || participant == nil {
		return err
	}
	d := broker.Delivery{Message: m, Saga: &call}
	if err := participant.Handle(ctx, d); err != nil {
		_, err := participant.GiveUp(ctx, d, holdfast.Failure{Consumer: participant.Name, Class: classOf(err), Reason: err.Error(), Attempts: 3})
		return err
	}
	return nil
}

func classOf(err error) holdfast.ErrorClass {
	if holdfast.IsPermanent(err) {
		return holdfast.ClassPermanent
	}
	return holdfast.ClassError
}

func (w *wire) ReplyTo(group string) (own, durable string) {
	return "h.replies." + group + ".me", "h.replies." + group
}

func (w *wire) PublishSagaReply(_ context.Context, _ broker.SagaCall, r broker.SagaReply) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.replyErr != nil {
		return w.replyErr
	}
	w.replies = append(w.replies, r)
	if !w.waiters.Give(r) {
		w.unheard = append(w.unheard, r)
	}
	return nil
}

// rig is a runner with a wire.
type rig struct {
	*sagarun.Runner
	t    *testing.T
	wire *wire
	// ended are the sagas that the fast path told of.
	ended map[string]string
}

func newRig(t *testing.T, db *gorm.DB, defs ...saga.Definition) *rig {
	t.Helper()
	r := &rig{t: t, ended: map[string]string{}}
	r.Runner = &sagarun.Runner{Definitions: &sagarun.Definitions{}, DB: db, Waiters: &sagarun.Waiters{},
		Completed: func(id string, data json.RawMessage) { r.ended[id] = string(data) }}
	r.wire = &wire{waiters: r.Waiters}
	r.Calls = r.wire
	for _, def := range defs {
		c, err := def.Compile()
		require.NoError(t, err)
		require.NoError(t, r.Definitions.Add(c))
	}
	return r
}

// step is the input of a step of the saga name.
func (r *rig) step(name, step string, data string) activities.SagaStep {
	r.t.Helper()
	c, err := r.Definitions.Find(name, 0)
	require.NoError(r.t, err)
	s := c.Plan.Find(step)
	require.NotNil(r.t, s, step)
	id := "saga/g/" + name + "/" + r.t.Name()
	return activities.SagaStep{Saga: activities.SagaRef{ID: id, Workflow: id, Group: "g", Key: "K-1", Name: name, Version: c.Plan.Version},
		Step: *s, Try: 1, Data: json.RawMessage(data)}
}

func (r *rig) do(s activities.SagaStep) core.Outcome   { return r.Do(r.t.Context(), s).Outcome }
func (r *rig) undo(s activities.SagaStep) core.Outcome { return r.Undo(r.t.Context(), s).Outcome }

var errOops = errors.New("oops")
