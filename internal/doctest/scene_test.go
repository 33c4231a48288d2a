package doctest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// patience is how long tests wait for what must come.
const patience = 5 * time.Minute

// scene is the shop that the pages speak of: group orders, saga order-payment,
// consumer payments.
type scene struct {
	t       *testing.T
	prefix  string
	c       client.Client
	db      *gorm.DB
	w       *worker.Worker
	env     []string
	made    atomic.Int64
	failed  sync.Map // keys that have failed once
	decided sync.Map // IDs of transactions of which the Checker knows
	letters sync.Map // IDs of dead letters' workflows, by key
}

// order is the saga's state.
type order struct{ ID, Wants string }

// What an order's saga is to come to.
const (
	wantsApproval = "approval"
	wantsParking  = "parking"
)

func newScene(t *testing.T) *scene {
	t.Helper()
	st := stacktest.Shared(t)
	s := &scene{t: t, prefix: stacktest.Prefix(t), c: stacktest.TemporalClient(t, st)}
	database := stacktest.Database(t, st)
	s.env = append(st.Env(), "USER=ann", "DATABASE_URL="+database, "HOLDFAST_PREFIX="+s.prefix, "HOLDFAST_TIMEOUT=1m")
	db := migrate(t, database)
	s.db = db
	var err error
	s.w, err = worker.New(worker.Options{Group: "orders", Temporal: s.c, Namespace: st.Namespace(), AMQPURL: st.AMQPURL(), DB: db, Prefix: s.prefix,
		CheckAfter: time.Hour, // so that the Keeper takes nothing up that was terminated
		CheckBack:  transactions.Schedule{Delays: []time.Duration{10 * time.Millisecond}, MaxChecks: 1}})
	require.NoError(t, err)
	s.register()
	s.run(st.AMQPURL())
	return s
}

// orderPayment is the saga of the README: with an approval, where an order wants it,
// and a delivery that fails the first time, where an order wants that.
func (s *scene) orderPayment() saga.Saga[order] {
	nothing := func(context.Context, *gorm.DB, *order) error { return nil }
	return saga.Saga[order]{Name: "order-payment", Key: func(o order) string { return o.ID }, Steps: []saga.Step[order]{
		saga.Local("create-order", nothing, nothing),
		saga.Wait("approve", time.Hour).When(saga.If(func(o order) bool { return o.Wants == wantsApproval })),
		saga.Local("charge-payment", nothing, nothing),
		saga.Local("ship", func(_ context.Context, _ *gorm.DB, o *order) error {
			if o.Wants == wantsParking && s.first(o.ID) {
				return holdfast.Permanent(errors.New("the printer is out of paper"))
			}
			return nil
		}, nothing).Park(),
	}}
}

// first reports whether it is asked for key the first time.
func (s *scene) first(key string) bool {
	_, before := s.failed.LoadOrStore(key, true)
	return !before
}

const undecidable = "order.odd"

func (s *scene) register() {
	s.w.Saga(s.orderPayment())
	s.w.Check(undecidable, holdfast.CheckerFunc(func(_ context.Context, m holdfast.Message) (holdfast.Resolution, error) {
		if _, decided := s.decided.Load(m.ID); decided {
			return holdfast.Commit, nil
		}
		return holdfast.Unknown, nil
	}))
	s.w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.#"}, Tries: 1, Ladder: []time.Duration{},
		Handle: func(_ context.Context, _ *gorm.DB, m holdfast.Message) error {
			if m.Key != "" && s.first(m.Key) {
				panic("no such currency")
			}
			return nil
		}})
	s.w.Compensate("order.placed", func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error { return nil })
}

func (s *scene) run(amqpURL string) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.w.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		require.NoError(s.t, <-ended)
		var queues []string
		for _, q := range []string{"dead", "dead.expired", "dead.oversized", "half.orders", "q.payments", "alone.payments", "replies.orders",
			"retry.10s", "retry.30s", "retry.1m", "retry.5m", "retry.15m", "retry.1h"} {
			queues = append(queues, s.prefix+"."+q)
		}
		stacktest.DeleteQueues(s.t, amqpURL, queues...)
	})
	select {
	case <-s.w.Ready():
	case err := <-ended:
		require.NoError(s.t, err)
		s.t.Fatal("the worker ended")
	}
}

// name is a new one for what a page calls by an example's name.
func (s *scene) name(example string) string { return fmt.Sprintf("%s-%d", example, s.made.Add(1)) }

// saga starts a saga, and waits until it stands where it is wanted.
func (s *scene) saga(example, wants string, until ...string) string {
	s.t.Helper()
	o := order{ID: s.name(example), Wants: wants}
	h, err := worker.StartSaga(s.t.Context(), s.w, s.orderPayment(), o)
	require.NoError(s.t, err)
	s.eventually("saga "+o.ID+" is "+fmt.Sprint(until), func() bool {
		v, err := s.c.QueryWorkflow(s.t.Context(), h.ID(), "", workflows.QueryStatus)
		var status sagas.Status
		if err != nil || v.Get(&status) != nil {
			return false
		}
		for _, state := range until {
			if status.State == state {
				return true
			}
		}
		return false
	})
	return o.ID
}

// letter has payments give up the message of an order, and waits until its workflow
// is there; it returns the order.
func (s *scene) letter(example string) string {
	s.t.Helper()
	key := s.name(example)
	r, err := s.w.Send(s.t.Context(), holdfast.Message{Topic: "order.placed", Key: key, Body: []byte("{}")},
		func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(s.t, err)
	id := workflows.DeadLetterID(s.prefix, holdfast.DeadLetter{ID: r.TxID, Failure: holdfast.Failure{Consumer: "payments"}})
	s.parked(id)
	s.letters.Store(key, id)
	return key
}

// letterID is the workflow's ID of the dead letter of an order.
func (s *scene) letterID(key string) string {
	id, _ := s.letters.Load(key)
	return id.(string)
}

// transaction begins one that nobody can decide, and waits until it is parked; it
// returns its ID.
func (s *scene) transaction() string {
	s.t.Helper()
	split, err := s.w.Begin(s.t.Context(), 0, holdfast.Message{Topic: undecidable})
	require.NoError(s.t, err)
	s.parked(workflows.WorkflowID(s.prefix, "orders", split.ID()))
	return split.ID()
}

// parked waits until a workflow says, also to those who list, that it waits for an
// operator.
func (s *scene) parked(workflowID string) {
	s.t.Helper()
	s.eventually(workflowID+" is parked", func() bool {
		d, err := s.c.DescribeWorkflow(s.t.Context(), workflowID, "")
		if err != nil {
			return false
		}
		state, _ := d.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState))
		return state == string(workflows.Parked)
	})
}

// terminate ends a workflow as somebody might in the Temporal UI.
func (s *scene) terminate(workflowID string) {
	s.t.Helper()
	require.NoError(s.t, s.c.TerminateWorkflow(s.t.Context(), workflowID, "", "by mistake"))
}

func (s *scene) eventually(what string, ready func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ready(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("not in %v: %s", patience, what)
		}
	}
}
