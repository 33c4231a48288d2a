package deadletters_test

import (
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestDeadLetterWaitsForAnOperator(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.OnUpsertTypedSearchAttributes(mock.Anything).Return(func(a temporal.SearchAttributes) error {
		s, _ := a.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState))
		require.Equal(t, "discarded", s, "it was started as parked")
		return nil
	}).Once()
	b.at(24*time.Hour, func() {
		s := b.status()
		require.Equal(t, workflows.Parked, s.State)
		require.Equal(t, "payment gave it up after 9 attempts (error): card declined", s.Reason)
		require.Equal(t, []string{"redeliver", "compensate", "discard"}, s.Actions)
		require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter}, b.kinds(), "it arrives and waits: one alert")
	})
	done := b.ask(25*time.Hour, deadletters.UpdateDiscard, by("ann"))
	s := b.run()
	require.NoError(t, done.err)
	require.Equal(t, workflows.Discarded, done.status.State)
	require.Equal(t, workflows.Discarded, s.State)
	require.Equal(t, "ann: because", s.Reason)
	require.Equal(t, []string{"died", "discard"}, happened(s))
	require.Empty(t, s.Actions)
	require.Zero(t, b.tried+b.compensated+b.notifies)
	b.AssertExpectations(t)
}

func TestAlertSaysWhatToDo(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.discard(time.Hour)
	b.run()
	a := b.alerts[0]
	a.At, a.Remedy, a.WorkflowID = time.Time{}, "", ""
	require.Equal(t, holdfast.Alert{Kind: holdfast.AlertDeadLetter, Group: "orders", Consumer: "payment", ID: "m-1", Topic: "order.placed",
		Key: "A-1007", Parked: true, Class: holdfast.ClassError, Reason: "payment gave it up after 9 attempts (error): card declined"}, a)
	require.NotEmpty(t, b.alerts[0].WorkflowID)
	for _, want := range []string{"holdfast dead redeliver ", "holdfast dead compensate ", "holdfast dead discard "} {
		require.Contains(t, b.alerts[0].Remedy, want)
	}
}

// TestAnswerWithinTheStep: the consumer answers while the message is still being
// put back; no signal comes.
func TestAnswerWithinTheStep(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.answersAtOnce = true
	done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	status := b.run()
	require.NoError(t, done.err)
	require.Equal(t, workflows.Handled, done.status.State)
	require.Equal(t, workflows.Handled, status.State)
	require.Equal(t, 1, status.Redeliveries)
	require.Equal(t, "handled", status.Story[len(status.Story)-1].What)
}

func TestReasonSaysWhoGaveItUp(t *testing.T) {
	for want, f := range map[string]holdfast.Failure{
		"payment gave it up after 1 attempt (permanent): card unknown":         {Consumer: "payment", Class: holdfast.ClassPermanent, Reason: "card unknown", Attempts: 1},
		"it died outside of its consumer (dropped): RabbitMQ dropped it":       {Consumer: "payment", Class: holdfast.ClassDropped, Reason: "RabbitMQ dropped it"},
		"it was given up after 1 attempt (malformed): not JSON":                {Class: holdfast.ClassMalformed, Reason: "not JSON", Attempts: 1},
		"payment gave it up after 3 attempts in redelivery 2 (panic): nil map": {Consumer: "payment", Class: holdfast.ClassPanic, Reason: "nil map", Attempts: 3, Redelivery: 2},
	} {
		l := letter(holdfast.Policy{})
		l.Failure = f
		b := bury(t, l)
		b.at(time.Minute, func() { require.Equal(t, want, b.status().Reason) })
		b.discard(time.Hour)
		b.run()
	}
}

func TestRedeliverAndHandled(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.at(2*time.Minute, func() {
		require.False(t, done.answered.IsZero(), "it answers when published")
		require.Equal(t, workflows.Redelivering, done.status.State)
		require.Equal(t, "redelivered; the consumer has not answered yet", done.status.Reason)
		require.Equal(t, []string{"redeliver"}, done.status.Actions)
	})
	b.signal(time.Hour, deadletters.SignalHandled, 1)
	s := b.run()
	require.NoError(t, done.err)
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, []string{"died", "redeliver", "handled"}, happened(s))
	require.Equal(t, "ann", s.Story[1].Operator)
	require.Len(t, b.redelivered, 1)
	require.Equal(t, 1, b.redelivered[0].N)
	require.Equal(t, "ann", b.redelivered[0].Operator)
	require.Equal(t, []byte("hello"), b.redelivered[0].Letter.Message.Body)
	require.Nil(t, b.redelivered[0].Edit)
}

func TestRedeliveredDiesAgain(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.OnUpsertMemo(mock.Anything).Return(func(m map[string]any) error {
		require.Equal(t, map[string]any{deadletters.MemoConsumer: "payment", deadletters.MemoClass: "error", deadletters.MemoReason: "still declined",
			deadletters.MemoAttempts: 3}, m)
		return nil
	}).Once()
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.signal(2*time.Minute, deadletters.SignalDied, died(1, "still declined"))
	b.at(3*time.Minute, func() {
		s := b.status()
		require.Equal(t, workflows.Parked, s.State)
		require.Equal(t, "payment gave it up after 3 attempts in redelivery 1 (error): still declined", s.Reason)
		require.Equal(t, "still declined", s.Failure.Reason)
		require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter, holdfast.AlertParked}, b.kinds())
	})
	b.ask(4*time.Minute, deadletters.UpdateRedeliver, by("bob"))
	b.signal(5*time.Minute, deadletters.SignalHandled, 2)
	s := b.run()
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, 2, s.Redeliveries)
	require.Equal(t, []string{"died", "redeliver", "died", "redeliver", "handled"}, happened(s))
	b.AssertExpectations(t)
}

func TestRedeliverWaitsForTheAnswer(t *testing.T) {
	wait := by("ann")
	wait.Wait = 10 * time.Minute
	t.Run("handled", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		done := b.ask(time.Minute, deadletters.UpdateRedeliver, wait)
		b.signal(3*time.Minute, deadletters.SignalHandled, 1)
		s := b.run()
		require.Equal(t, workflows.Handled, done.status.State)
		require.Equal(t, workflows.Handled, s.State)
	})
	t.Run("died", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		done := b.ask(time.Minute, deadletters.UpdateRedeliver, wait)
		b.signal(3*time.Minute, deadletters.SignalDied, died(1, "again"))
		b.discard(time.Hour)
		b.run()
		require.Equal(t, workflows.Parked, done.status.State)
		require.Equal(t, "again", done.status.Failure.Reason)
	})
	t.Run("no answer", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		begin := b.Now()
		done := b.ask(time.Minute, deadletters.UpdateRedeliver, wait)
		b.signal(time.Hour, deadletters.SignalHandled, 1)
		b.run()
		require.Equal(t, workflows.Redelivering, done.status.State)
		require.Equal(t, 11*time.Minute, done.answered.Sub(begin).Round(time.Second))
	})
	t.Run("another redelivery", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		begin := b.Now()
		done := b.ask(time.Minute, deadletters.UpdateRedeliver, wait)
		b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("bob"))
		b.signal(time.Hour, deadletters.SignalHandled, 2)
		b.run()
		require.Equal(t, 2*time.Minute, done.answered.Sub(begin).Round(time.Second))
		require.Equal(t, workflows.Redelivering, done.status.State)
		require.Equal(t, 2, done.status.Redeliveries)
	})
}

func TestRedeliverAgainWhileRedelivering(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	again := b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("bob"))
	b.signal(3*time.Minute, deadletters.SignalHandled, 1) // the next one is awaited
	b.signal(4*time.Minute, deadletters.SignalDied, died(1, "an older one"))
	b.at(5*time.Minute, func() {
		s := b.status()
		require.Equal(t, workflows.Redelivering, s.State)
		require.Equal(t, 2, s.Duplicates)
		require.Equal(t, "card declined", s.Failure.Reason)
	})
	b.signal(6*time.Minute, deadletters.SignalHandled, 2)
	s := b.run()
	require.NoError(t, again.err)
	require.Equal(t, 2, again.status.Redeliveries)
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, 2, b.redelivered[1].N)
}

// TestAnswersOutOfOrder: the second of two redeliveries died, and then the first
// was handled after all.
func TestAnswersOutOfOrder(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.signal(3*time.Minute, deadletters.SignalDied, died(2, "locked"))
	b.at(4*time.Minute, func() { require.Equal(t, workflows.Parked, b.status().State) })
	b.signal(5*time.Minute, deadletters.SignalHandled, 1)
	require.Equal(t, workflows.Handled, b.run().State)
}

// TestDiedInARedeliveryOfAnotherRun: the workflow that redelivered it was
// terminated, and its death begins a new one. No number is used twice.
func TestDiedInARedeliveryOfAnotherRun(t *testing.T) {
	l := letter(holdfast.Policy{})
	l.Failure.Redelivery = 3
	b := bury(t, l)
	b.signal(time.Minute, deadletters.SignalDied, died(3, "a copy"))
	done := b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.signal(3*time.Minute, deadletters.SignalHandled, 4)
	s := b.run()
	require.Equal(t, 4, done.status.Redeliveries)
	require.Equal(t, 4, b.redelivered[0].N)
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, 1, s.Duplicates)
	require.Equal(t, []string{"died", "redeliver", "handled"}, happened(s))
}

// TestRecordOfARedeliveryWasLost: the process died after the redelivery and
// before its workflow task was recorded, and the consumer answers.
func TestRecordOfARedeliveryWasLost(t *testing.T) {
	t.Run("handled", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		b.signal(time.Minute, deadletters.SignalHandled, 1)
		require.Equal(t, workflows.Handled, b.run().State)
	})
	t.Run("died", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		b.signal(time.Minute, deadletters.SignalDied, died(1, "still declined"))
		b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("ann"))
		b.signal(3*time.Minute, deadletters.SignalHandled, 2)
		require.Equal(t, workflows.Handled, b.run().State)
		require.Equal(t, 2, b.redelivered[0].N, "no number is used twice")
	})
}

func TestCopiesAreCounted(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.signal(time.Minute, deadletters.SignalDied, died(0, "a copy"))
	b.signal(2*time.Minute, deadletters.SignalHandled, 0)
	b.ask(3*time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.signal(4*time.Minute, deadletters.SignalDied, died(0, "a copy"))
	b.signal(5*time.Minute, deadletters.SignalDied, died(1, "again"))
	b.signal(6*time.Minute, deadletters.SignalDied, died(1, "the same again"))
	b.discard(time.Hour)
	s := b.run()
	require.Equal(t, 4, s.Duplicates)
	require.Equal(t, "again", s.Failure.Reason)
	require.Equal(t, []string{"died", "redeliver", "died", "discard"}, happened(s))
	require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter, holdfast.AlertParked}, b.kinds())
}

// TestSignalsOfOneMoment: what arrives while a step runs is taken so that a
// message that was handled counts as handled.
func TestSignalsOfOneMoment(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.onRedelivery = func(r activities.Redelivery) {
		if r.N == 2 {
			b.SignalWorkflow(deadletters.SignalHandled, 1)
			b.SignalWorkflow(deadletters.SignalDied, died(2, "locked"))
		}
	}
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.discard(time.Hour)
	s := b.run()
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, []string{"died", "redeliver", "redeliver", "died", "handled"}, happened(s))
}

func TestSignalsOfOperators(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.at(time.Minute, func() {
		b.SignalWorkflow(deadletters.UpdateRedeliver, deadletters.Request{Operator: "batch"})
		b.SignalWorkflow(deadletters.UpdateRedeliverEdited, by("batch"))
		b.SignalWorkflow(deadletters.UpdateRedeliver, "not a request")
		b.SignalWorkflow(deadletters.UpdateRedeliver, by("batch"))
	})
	b.signal(2*time.Minute, deadletters.UpdateDiscard, by("batch"))
	b.signal(3*time.Minute, deadletters.SignalHandled, 1)
	s := b.run()
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, []string{"died", "refused", "refused", "redeliver", "refused", "handled"}, happened(s))
	require.Contains(t, s.Story[1].Text, "redeliver: say who asks and why")
	require.Contains(t, s.Story[2].Text, "redeliver-edited: message m-1 is parked and cannot be edited: consumer payment does not allow it")
	require.Contains(t, s.Story[4].Text, "discard: message m-1 is redelivering: the consumer has not answered redelivery 1")
	require.Equal(t, "batch", s.Story[4].Operator)
}

func TestCompensateAsSignal(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.signal(time.Minute, workflows.UpdateCompensate, by("batch"))
	require.Equal(t, workflows.Compensated, b.run().State)
}

// TestCancelDropsNothing: a request to cancel stops the policy's waiting, and
// nothing else.
func TestCancelDropsNothing(t *testing.T) {
	t.Run("parked", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		b.at(time.Minute, b.CancelWorkflow)
		done := b.ask(2*time.Minute, deadletters.UpdateRedeliver, by("ann"))
		b.signal(3*time.Minute, deadletters.SignalHandled, 1)
		s := b.run()
		require.NoError(t, done.err)
		require.Equal(t, "redelivered; the consumer has not answered yet", done.status.Reason, "an Update waits after a cancel, too")
		require.Equal(t, workflows.Handled, s.State)
		require.Equal(t, "asked to cancel: a dead letter is not dropped; to drop it, use discard", event(t, s, "cancel").Text)
	})
	t.Run("waits", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Hour}}))
		b.at(time.Minute, b.CancelWorkflow)
		b.at(2*time.Hour, func() {
			s := b.status()
			require.Equal(t, workflows.Parked, s.State)
			require.Contains(t, s.Reason, "asked to cancel")
			require.Zero(t, s.Next)
		})
		b.discard(3 * time.Hour)
		require.Equal(t, workflows.Discarded, b.run().State)
		require.Empty(t, b.redelivered)
	})
	t.Run("redelivering", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
		b.at(2*time.Minute, b.CancelWorkflow)
		b.signal(3*time.Minute, deadletters.SignalHandled, 1)
		s := b.run()
		require.Equal(t, workflows.Handled, s.State)
		event(t, s, "cancel")
	})
}
