package worker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// TestDeadLetterMatrix kills a real process at each instant of a message's way
// through retries, dead letters, redelivery and compensation. Whatever it is, the
// effect happens once, there is one workflow, and nothing is stuck.
func TestDeadLetterMatrix(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		dies string
		kill func(t *testing.T, dies string)
	}{
		{"consumer: between a retry's publish and ack", fault.RetryBeforeAck, killAtRetry},
		{"consumer: between the answer to a redelivery and ack", fault.HandledBeforeAck, killAtHandled},
		{"intake: between a dead letter's workflow and ack", fault.DeadTakenBeforeAck, killAtIntake},
		{"intake: between an answer's signal and ack", fault.DeadTakenBeforeAck, killAtAnswer},
		{"consumer: inside Undo", insideUndo, killUndo},
		{"consumer: after Undo's COMMIT, before its ack", fault.ConsumeAfterCommit, killUndo},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.kill(t, row.dies)
		})
	}
	// Temporal notices after half a minute that these processes are gone, so they
	// are waited for together.
	t.Run("group: inside and after Compensate, after the notice's publish", func(t *testing.T) {
		t.Parallel()
		var ends []func()
		for _, dies := range []string{insideCompensate, fault.StepAfterCommit, fault.NotifyBeforeConfirm} {
			ends = append(ends, killCompensation(t, dies))
		}
		for _, end := range ends {
			end()
		}
	})
}

// compensator is the worker that takes over in a group that can refund.
func (s *site) compensator() *running {
	s.t.Helper()
	return s.runWith(hurried(s.options()), func(w *worker.Worker) { w.Compensate(placed, refund) })
}

// later requires that a message published now has its effect, and that all before
// it had theirs once.
func (s *site) later(b *broker.Broker, id string) {
	s.t.Helper()
	last := order(newID())
	s.publish(b, last)
	s.oneEffect(last.ID)
	require.Equal(s.t, 1, s.effected(id))
}

func killAtRetry(t *testing.T, dies string) {
	s := newSite(t)
	c := s.child(childConfig{Role: roleConsumer, Fault: dies, Fail: true})
	c.awaitReady()
	b := s.broker()
	m := order(newID())
	s.publish(b, m)
	c.killed()

	// There are two now, one of them in a delay queue.
	w := s.consumingRepeats(m.ID, childConfig{}.consumer(s.effects))
	s.oneEffect(m.ID)
	s.later(b, m.ID)
	s.nothingLeft(b, []string{"payments"}, w)
	require.Equal(t, 1, s.effected(m.ID))
}

func killAtHandled(t *testing.T, dies string) {
	s := newSite(t)
	refusing := s.consuming(childConfig{Refuse: true}.consumer(s.effects))
	w := s.compensator()
	b := s.broker()
	m := order(newID())
	s.publish(b, m)
	s.awaitLetter("payments", m.ID, workflows.Parked)
	refusing.stop()
	c := s.child(childConfig{Role: roleConsumer, Fault: dies})
	c.awaitReady()
	_, err := s.askLetter("payments", m.ID, deadletters.UpdateRedeliver)
	require.NoError(t, err)
	c.killed()
	require.Equal(t, 1, s.effected(m.ID))
	s.awaitLetter("payments", m.ID, workflows.Handled) // it had said so

	again := s.consumingRepeats(m.ID, payments(s.effects))
	s.later(b, m.ID)
	s.onlyLetter("payments", m.ID)
	s.nothingLeft(b, []string{"payments"}, again, w)
	require.Equal(t, 1, s.effected(m.ID))
}

func killAtIntake(t *testing.T, dies string) {
	s := newSite(t)
	refusing := s.consuming(childConfig{Refuse: true}.consumer(s.effects))
	c := s.child(childConfig{Role: roleKeeper, Fault: dies, Lane: lanes[0].name})
	c.awaitReady()
	b := s.broker()
	m := order(newID())
	s.publish(b, m)
	c.killed()
	refusing.stop()

	w := s.compensator()
	until(t, "the dead letter, again", func() bool { return s.letter("payments", m.ID).Duplicates == 1 })
	require.Equal(t, workflows.Parked, s.letter("payments", m.ID).State)
	consuming := s.consuming(payments(s.effects))
	status, err := s.askLetter("payments", m.ID, deadletters.UpdateRedeliver, withAnswer)
	require.NoError(t, err)
	require.Equal(t, workflows.Handled, status.State)
	require.Equal(t, 1, status.Redeliveries)
	s.onlyLetter("payments", m.ID)
	s.nothingLeft(b, []string{"payments"}, consuming, w)
	require.Equal(t, 1, s.effected(m.ID))
}

// killAtAnswer is about the intake of a redelivery's answer: its workflow has
// ended when the answer comes again.
func killAtAnswer(t *testing.T, dies string) {
	s := newSite(t)
	refusing := s.consuming(childConfig{Refuse: true}.consumer(s.effects))
	first := s.compensator()
	b := s.broker()
	m := order(newID())
	s.publish(b, m)
	s.awaitLetter("payments", m.ID, workflows.Parked)
	refusing.stop()
	first.stop()
	c := s.child(childConfig{Role: roleKeeper, Fault: dies, Lane: lanes[0].name})
	c.awaitReady()
	consuming := s.consuming(payments(s.effects))
	// The workflow task that the answer was given to may die with the process:
	// the record that was put off, or the task's repetition, ends the workflow.
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = s.askLetter("payments", m.ID, deadletters.UpdateRedeliver) // it may come too late
	}()
	c.killed()

	w := s.compensator()
	status := s.awaitLetter("payments", m.ID, workflows.Handled)
	require.Equal(t, 1, status.Redeliveries)
	next(t, asked)
	s.onlyLetter("payments", m.ID)
	s.nothingLeft(b, []string{"payments"}, consuming, w)
	require.Equal(t, 1, s.effected(m.ID))
}

// compensated publishes a message that the consumer stock handles, and then the
// consumer payments refuses for good, by the policy to compensate.
func (s *site) compensated(b *broker.Broker) (id string, payments *running) {
	s.t.Helper()
	refusing := failing(s.effects, broken(holdfast.Permanent(errOops)))
	refusing.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	require.NoError(s.t, b.DeclareConsumer(s.ctx(), refusing.Name, refusing.Topics)) // its queue gets the message, too
	m := order(newID())
	s.publish(b, m)
	until(s.t, "the stock is reserved", func() bool { return s.effected("stock-"+m.ID) == 1 })
	return m.ID, s.consuming(refusing)
}

// killCompensation kills the process that compensates, and tells the others. What
// it returns waits for the end.
func killCompensation(t *testing.T, dies string) (end func()) {
	s := newSite(t)
	undoing := s.consuming(stock(s.effects))
	c := s.child(childConfig{Role: roleKeeper, Fault: dies, Lane: lanes[0].name})
	c.awaitReady()
	b := s.broker()
	id, refusing := s.compensated(b)
	c.killed()
	w := s.compensator()
	return func() {
		t.Log("killed at", dies)
		s.undoneOnce(b, id, dies, undoing, refusing, w)
	}
}

// killUndo kills the consumer that undoes.
func killUndo(t *testing.T, dies string) {
	s := newSite(t)
	first := s.consuming(stock(s.effects))
	b := s.broker()
	id, refusing := s.compensated(b)
	first.stop()
	c := s.child(childConfig{Role: roleConsumer, Fault: dies, Undoes: true})
	c.awaitReady()
	w := s.compensator()
	c.killed()
	s.undoneOnce(b, id, dies, s.consuming(stock(s.effects)), refusing, w)
}

// undoneOnce waits until a message is compensated and undone, and requires that
// it is each once, and that nothing is stuck.
func (s *site) undoneOnce(b *broker.Broker, id, dies string, workers ...*running) {
	s.t.Helper()
	end := s.awaitLetter("payments", id, workflows.Compensated)
	require.Equal(s.t, dies == fault.StepAfterCommit, tells(end, "had compensated it before"), "%+v", end.Story)
	until(s.t, "the stock is released", func() bool { return s.effected("unstock-"+id) > 0 })
	s.onlyLetter("payments", id)
	s.nothingLeft(b, []string{"payments", "stock"}, workers...)
	require.Equal(s.t, 1, s.refunded(id))
	require.Equal(s.t, 1, s.effected("stock-"+id))
	require.Equal(s.t, 1, s.effected("unstock-"+id))
	require.Zero(s.t, s.effected(id))
}
