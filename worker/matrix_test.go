package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// lane is how transactions are coordinated. Every row of the failure matrix is
// run on each lane.
type lane struct {
	name string
	set  func(*worker.Options)
	// traced: every transaction has a workflow, whatever happens to it. Otherwise
	// the outcome row tells, if there is one.
	traced bool
}

var lanes = []lane{
	{name: "traced", traced: true, set: func(o *worker.Options) { o.Lane = holdfast.Traced }},
	{name: "express", set: func(o *worker.Options) { o.Lane = holdfast.Express }},
}

// inLanes runs a test in each lane, at the same time.
func inLanes(t *testing.T, test func(t *testing.T, l lane)) {
	t.Helper()
	t.Parallel()
	for _, l := range lanes {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			test(t, l)
		})
	}
}

func laneOf(name string) lane {
	for _, l := range lanes {
		if l.name == name {
			return l
		}
	}
	panic("no lane " + name)
}

// options are those of the processes of the matrix: a crash costs seconds.
func (l lane) options(o worker.Options) worker.Options {
	o = hurried(o)
	l.set(&o)
	return o
}

// outcome is how a transaction must have ended.
type outcome struct {
	orders  int // rows in the producer's database
	effects int // rows in the consumer's database
	state   workflows.State
}

var (
	delivered = outcome{orders: 1, effects: 1, state: workflows.Committed}
	forgotten = outcome{state: workflows.RolledBack}
)

// TestFailureMatrix kills a real process at each instant, and looks at what is
// in both databases once another one has taken over.
func TestFailureMatrix(t *testing.T) {
	t.Parallel()
	producers := []struct {
		name string
		dies string
		form string
		want outcome
		// express is what is expected in that lane; nil: the same.
		express *outcome
	}{
		{"before the half's confirm", fault.HalfBeforeConfirm, formInline, forgotten, nil},
		{"after half, before local transaction", fault.HalfAfterConfirm, formInline, forgotten, nil},
		{"inside the local transaction", insideLocal, formInline, forgotten, nil},
		{"after COMMIT, before its answer", fault.LocalAfterCommit, formInline, delivered, nil},
		{"after COMMIT, before the publish", fault.CommitBeforePublish, formInline, delivered, nil},
		{"after publish, before its confirm", fault.CommitBeforeConfirm, formInline, delivered, nil},
		{"after confirm, before op", fault.CommitAfterConfirm, formInline, delivered, nil},
		// Any worker of the group can run a registered handler again; in the Express
		// lane it is the caller's process alone that runs it.
		{"registered: before the half's confirm", fault.HalfBeforeConfirm, formRegistered, delivered, &forgotten},
		{"registered: inside the local transaction", insideLocal, formRegistered, delivered, &forgotten},
		{"registered: after COMMIT, before its answer", fault.LocalAfterCommit, formRegistered, delivered, nil},
		{"split: before the application's transaction", beforeBarrier, formSplit, forgotten, nil},
		{"split: inside the application's transaction", insideLocal, formSplit, forgotten, nil},
		{"split: after COMMIT, before Commit", afterSplitCommit, formSplit, delivered, nil},
	}
	consumers := []struct {
		name string
		dies string
	}{
		{"consumer: before its transaction", fault.ConsumeBefore},
		{"consumer: inside its transaction", insideHandler},
		{"consumer: after its COMMIT, before its ack", fault.ConsumeAfterCommit},
	}
	keepers := []struct {
		name string
		dies string
	}{
		{"Keeper: with halves held", fault.KeeperHolding},
		{"Keeper: between hand-over and ack", fault.KeeperBeforeAck},
	}
	coordinators := []struct {
		name string
		dies string
	}{
		{"dead letter: taken over, before its ack", fault.DeadTakenBeforeAck},
		{"dead letter: compensated, before that is recorded", fault.StepAfterCommit},
	}
	for _, l := range lanes {
		for _, row := range producers {
			t.Run(l.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				want := row.want
				if !l.traced && row.express != nil {
					want = *row.express
				}
				killProducer(t, l, row.dies, row.form, want)
			})
		}
		for _, row := range consumers {
			t.Run(l.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				killConsumer(t, l, row.dies)
			})
		}
		for _, row := range keepers {
			t.Run(l.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				killKeeper(t, l, row.dies)
			})
		}
		for _, row := range coordinators {
			t.Run(l.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				killCoordinator(t, l, row.dies)
			})
		}
		t.Run(l.name+"/consumer: between dead-letter publish and ack", func(t *testing.T) {
			t.Parallel()
			killAtDeadLetter(t, l)
		})
	}
}

// successor is the worker that takes over in the group.
func (s *site) successor(l lane) *running {
	s.t.Helper()
	return s.runWith(l.options(s.options()), func(w *worker.Worker) { w.Local("place", insertAndPass) })
}

func killProducer(t *testing.T, l lane, dies, form string, want outcome) {
	s := newSite(t)
	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	id := newID()
	s.child(childConfig{Role: roleProducer, Form: form, Fault: dies, Lane: l.name, Tx: id}).killed()

	w := s.successor(l)
	s.requireOutcome(l, w, seen, id, want)
	w.stop()
	s.drained()
}

// TestCallerDiesWhileItsWorkflowRunsElsewhere kills the process that holds the
// closure, inside it, while another process runs the workflow: its heartbeat
// stops, and a check-back follows.
func TestCallerDiesWhileItsWorkflowRunsElsewhere(t *testing.T) {
	t.Parallel()
	for _, l := range lanes {
		if !l.traced {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			seen := &audit{}
			s.consuming(payments(s.effects), seen.consumer())
			w := s.successor(l)
			for elsewhere := false; !elsewhere; { // until it is the other process that gets the workflow
				id := newID()
				s.child(childConfig{Role: roleProducer, Form: formInline, Fault: insideLocal, Lane: l.name, Tx: id, Lazy: true}).killed()
				s.requireOutcome(l, w, seen, id, forgotten)
				elsewhere = slices.Contains(s.scheduled(id), activities.LocalTransactionInProcess)
			}
		})
	}
}

// requireOutcome waits for the end of a transaction, and requires that it is the
// right one everywhere, and stays so.
func (s *site) requireOutcome(l lane, w *running, seen *audit, id string, want outcome) {
	s.t.Helper()
	s.requireEnd(l, id, want.state)
	require.Equal(s.t, want.orders, s.ordered(id))
	if want.effects == 0 {
		s.neverDelivered(w, seen, id)
		return
	}
	require.Equal(s.t, "C-"+id, s.oneEffect(id).Key)
	if l.traced {
		s.found(workflows.AttributeKey+" = 'C-"+id+"'", id)
	}
	// What is sent later arrives later, so a second effect would be there then.
	s.oneEffect(s.sends(w, insert))
	require.Equal(s.t, want.effects, s.effected(id))
}

// requireEnd waits for the end of a transaction, and requires that it is this one.
func (s *site) requireEnd(l lane, id string, want workflows.State) {
	s.t.Helper()
	switch {
	case l.traced:
		require.Equal(s.t, want, s.ended(id).State)
		s.requireRow(id, want == workflows.Committed)
	case want == workflows.Committed:
		until(s.t, "an outcome row of "+id, func() bool { return s.hasRow(id) })
		s.requireRow(id, true)
	default:
		// The half message may not have reached its queue: then nobody knows of it, and
		// there is no row. But what was behind it in the queue is decided.
		s.fence()
		if s.hasRow(id) {
			s.requireRow(id, false)
		}
	}
}

// fence waits until the half messages that are in the half queue now are settled, or
// have been handed over, by a Keeper that is hurried.
func (s *site) fence() {
	s.t.Helper()
	id := newID()
	s.orphan(laneOf("express"), id, false)
	until(s.t, "the last half message is decided", func() bool { return s.hasRow(id) })
}

func (s *site) hasRow(id string) bool {
	s.t.Helper()
	_, err := barrier.Read(s.ctx(), s.orders, id)
	if !errors.Is(err, holdfast.ErrNotFound) {
		require.NoError(s.t, err)
	}
	return err == nil
}

func (s *site) requireRow(id string, committed bool) {
	s.t.Helper()
	row, err := barrier.Read(s.ctx(), s.orders, id)
	require.NoError(s.t, err)
	require.Equal(s.t, committed, row.Resolution == holdfast.Commit)
}

func killConsumer(t *testing.T, l lane, dies string) {
	s := newSite(t)
	w := s.successor(l)
	c := s.child(childConfig{Role: roleConsumer, Fault: dies})
	c.awaitReady()
	id := s.sends(w, insertAndPass)
	c.killed()

	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	s.requireOutcome(l, w, seen, id, delivered)
	w.stop()
	s.drained()
}

func killAtDeadLetter(t *testing.T, l lane) {
	s := newSite(t)
	w := s.successor(l)
	c := s.child(childConfig{Role: roleConsumer, Fault: fault.DeadBeforeAck, Refuse: true})
	c.awaitReady()
	id := s.sends(w, insert)
	c.killed()
	s.awaitLetter("payments", id, workflows.Parked) // stored before the death

	// The delivery comes again, and is refused again: no second workflow.
	s.consuming(childConfig{Refuse: true}.consumer(s.effects))
	until(t, "the dead letter, again", func() bool { return s.letter("payments", id).Duplicates == 1 })
	require.Equal(t, workflows.Parked, s.letter("payments", id).State)
	require.Zero(t, s.effected(id))
	require.Equal(t, 1, s.ordered(id))
}

// killCoordinator kills the process that has a dead letter whose policy is to
// compensate it.
func killCoordinator(t *testing.T, l lane, dies string) {
	s := newSite(t)
	c := childConfig{Refuse: true}.consumer(s.effects)
	c.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	require.NoError(t, s.broker().DeclareConsumer(s.ctx(), c.Name, c.Topics))
	w := s.successor(l)
	id := s.sends(w, insert)
	w.stop() // nobody takes dead letters in
	s.consuming(c)
	s.child(childConfig{Role: roleKeeper, Fault: dies, Lane: l.name}).killed()

	s.runWith(l.options(s.options()), func(w *worker.Worker) { w.Compensate(placed, refund) })
	end := s.awaitLetter("payments", id, workflows.Compensated)
	if dies == fault.StepAfterCommit {
		require.Contains(t, fmt.Sprint(end.Story), "had compensated it before")
	}
	require.Equal(t, 1, s.refunded(id))
	require.Zero(t, s.effected(id))
	until(t, "one workflow", func() bool { return slices.Equal(s.letters(), []string{s.deadID("payments", id)}) })
}

// killKeeper is about half messages that nobody but the Keeper knows of: one
// whose local transaction is committed, and one whose was never begun.
func killKeeper(t *testing.T, l lane, dies string) {
	s := newSite(t)
	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	committed, never := newID(), newID()
	s.orphan(l, committed, true)
	s.orphan(l, never, false)
	s.child(childConfig{Role: roleKeeper, Fault: dies, Lane: l.name}).killed()

	w := s.successor(l)
	for id, want := range map[string]outcome{committed: delivered, never: forgotten} {
		if l.traced {
			until(t, "a workflow of "+id, func() bool {
				_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "")
				return err == nil
			})
		}
		s.requireOutcome(l, w, seen, id, want)
	}
	w.stop()
	s.drained()
}

// orphan stores a half message that has no workflow, as after the loss of
// Temporal's data, with a committed local transaction or none.
func (s *site) orphan(l lane, id string, committed bool) {
	s.t.Helper()
	b := s.broker()
	require.NoError(s.t, b.DeclareGroup(s.ctx(), s.at.Group))
	m := order(id)
	if committed {
		res := barrier.Run(s.ctx(), s.orders, barrier.Local{TxID: id, Group: s.at.Group, Messages: []holdfast.Message{m}},
			func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
				return insertAndPass(ctx, tx, ms[0])
			})
		require.NoError(s.t, res.Err)
	}
	half := holdfast.Half{TxID: id, Group: s.at.Group, At: time.Now(), Messages: []holdfast.Message{m}}
	if !l.traced {
		half.Lane = holdfast.Express
	}
	require.NoError(s.t, b.PublishHalf(s.ctx(), half))
}

// TestExpressIDOfTwo: two processes send different messages with one chosen ID at the
// same time, and the one that commits dies before it publishes. What is delivered is
// what it sent, although the Keeper sees the other's half message first.
func TestExpressIDOfTwo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	s.successor(laneOf("express")).stop() // makes the queues
	id := newID()
	other := order(id)
	other.Body = []byte("something else")
	require.NoError(t, s.broker().PublishHalf(s.ctx(), holdfast.Half{TxID: id, Group: s.at.Group, Messages: []holdfast.Message{other}, At: time.Now(), Lane: holdfast.Express}))
	s.child(childConfig{Role: roleProducer, Form: formInline, Fault: fault.CommitBeforePublish, Lane: "express", Tx: id, Plain: true}).killed()
	w := s.successor(laneOf("express"))
	require.Equal(t, string(order(id).Body), s.oneEffect(id).Body)
	w.stop()
	s.drained()
}

// TestManyExpressSendsMatrix kills a process that sends many transactions at the same time, most of
// whose half messages share a record, when some of them have come to the fault. What committed is
// delivered, its effect happens once, and nothing else is; nothing stays in the half queue.
func TestManyExpressSendsMatrix(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, dies string
		most       int // local transactions are committed
	}{
		{"before the half's confirm", fault.HalfBeforeConfirm, cohortOf},
		{"after half, before local transaction", fault.HalfAfterConfirm, cohortOf},
		{"inside the local transaction", insideLocal, cohortOf - 1},
		{"after COMMIT, before its answer", fault.LocalAfterCommit, cohortOf},
		{"after COMMIT, before the publish", fault.CommitBeforePublish, cohortOf},
		{"after publish, before its confirm", fault.CommitBeforeConfirm, cohortOf},
		{"after confirm, before op", fault.CommitAfterConfirm, cohortOf},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			seen := &audit{}
			s.consuming(payments(s.effects), seen.consumer())
			s.child(childConfig{Role: roleProducer, Form: formMany, Fault: row.dies, Nth: cohortOf / 2, Lane: "express"}).killed()

			w := s.successor(laneOf("express"))
			s.neverDelivered(w, seen, newID()) // a later one is delivered
			later := 1
			committed := s.count(s.orders, "SELECT count(*) FROM orders") - later
			require.LessOrEqual(t, committed, row.most)
			until(t, "what committed is delivered", func() bool {
				return s.count(s.effects, "SELECT count(*) FROM effects") == committed+later
			})
			b := s.broker()
			until(t, "nothing is held", func() bool {
				_, found := keeperOf(t, b, func(k broker.KeeperStatus) bool { return k.Active && k.Held == 0 && k.Undecided == 0 })
				return found
			})
			require.Equal(t, committed, s.count(s.orders, "SELECT count(*) FROM orders")-later, "nothing commits late")
			require.Equal(t, committed+later, s.count(s.effects, "SELECT count(DISTINCT message_id) FROM effects"))
			require.Equal(t, committed+later, s.count(s.effects, "SELECT count(*) FROM effects"))
		})
	}
}
