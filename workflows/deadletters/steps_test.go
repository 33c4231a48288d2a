package deadletters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

func scheduled(delays ...time.Duration) holdfast.Policy {
	return holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: delays}
}

func TestPolicyRedeliversThenParks(t *testing.T) {
	b := bury(t, letter(scheduled(time.Hour, 4*time.Hour)))
	b.at(59*time.Minute, func() {
		s := b.status()
		require.Equal(t, workflows.Waits, s.State)
		require.Equal(t, time.Minute, s.Next.Sub(b.Now()).Round(time.Second))
		require.Contains(t, s.Actions, deadletters.UpdateRedeliver, "an operator can act at any time")
	})
	b.at(61*time.Minute, func() { require.Equal(t, workflows.Redelivering, b.status().State) })
	b.signal(62*time.Minute, deadletters.SignalDied, died(1, "first"))
	b.at(63*time.Minute, func() { require.Equal(t, workflows.Waits, b.status().State) })
	b.signal(64*time.Minute, deadletters.SignalDied, died(1, "a copy"))
	b.at(63*time.Minute+4*time.Hour, func() { require.Equal(t, workflows.Redelivering, b.status().State) })
	b.signal(6*time.Hour, deadletters.SignalDied, died(2, "second"))
	b.at(7*time.Hour, func() {
		s := b.status()
		require.Equal(t, workflows.Parked, s.State)
		require.Contains(t, s.Reason, "redelivered 2 times, which is all that the policy wants")
	})
	b.discard(8 * time.Hour)
	s := b.run()
	require.Equal(t, []string{"died", "redeliver", "died", "redeliver", "died", "discard"}, happened(s))
	require.Equal(t, "policy", s.Story[1].Operator)
	require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter, holdfast.AlertParked}, b.kinds(), "one that goes on by itself alerts nobody again")
}

// TestOperatorBeforeThePolicysTime: an operator redelivers while the policy
// waits; its timer does not redeliver a second time.
func TestOperatorBeforeThePolicysTime(t *testing.T) {
	b := bury(t, letter(scheduled(time.Hour)))
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.signal(3*time.Hour, deadletters.SignalHandled, 1)
	require.Equal(t, workflows.Handled, b.run().State)
	require.Len(t, b.redelivered, 1)
}

func TestBrokerAwayWhileRedelivering(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.redeliverErr = func(n int) error {
		if n < 4 {
			return errDown
		}
		return nil
	}
	local := 0
	b.SetOnLocalActivityStartedListener(func(info *activity.Info, _ context.Context, _ []any) {
		if info.ActivityType.Name == activities.Redeliver {
			local++
		}
	})
	done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.at(time.Minute+2*time.Second, func() {
		require.Zero(t, done.answered, "it is not published yet")
		s := b.status()
		require.Equal(t, workflows.Redelivering, s.State)
		require.Equal(t, "the broker has not confirmed the redelivery yet: connection refused", s.Reason)
		require.Empty(t, s.Actions)
	})
	refused := b.ask(time.Minute+2*time.Second, deadletters.UpdateRedeliver, by("bob"))
	b.signal(time.Hour, deadletters.SignalHandled, 1)
	s := b.run()
	require.ErrorContains(t, refused.rejected, "the broker has not confirmed redelivery 1")
	require.NoError(t, done.err)
	require.Equal(t, "redelivered; the consumer has not answered yet", done.status.Reason)
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, 1, local, "one try within the workflow task")
	require.Equal(t, 4, b.tried)
	require.Len(t, b.redelivered, 1)
}

// TestConfirmLostAndAnswered: the consumer answers a redelivery that the broker
// never confirmed.
func TestConfirmLostAndAnswered(t *testing.T) {
	for name, answer := range map[string]func(*burial){
		"handled": func(b *burial) { b.signal(time.Minute+10*time.Second, deadletters.SignalHandled, 1) },
		"died":    func(b *burial) { b.signal(time.Minute+10*time.Second, deadletters.SignalDied, died(1, "again")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bury(t, letter(holdfast.Policy{}))
			b.redeliverErr = func(int) error { return errDown }
			done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
			answer(b)
			b.at(2*time.Minute, func() { require.Equal(t, workflows.Parked, b.status().State) })
			b.discard(time.Hour)
			s := b.run()
			require.NoError(t, done.err)
			if name == "handled" {
				require.Equal(t, workflows.Handled, s.State)
				return
			}
			require.Equal(t, workflows.Discarded, s.State)
			require.Equal(t, workflows.Parked, done.status.State)
			require.Less(t, b.tried, 10, "it is not published any more")
		})
	}
}

func TestForceWhileTheBrokerIsAway(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.redeliverErr = func(int) error { return errDown }
	done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	plain := b.ask(2*time.Minute, deadletters.UpdateDiscard, by("bob"))
	force := by("bob")
	force.Force = true
	b.ask(3*time.Minute, deadletters.UpdateDiscard, force)
	s := b.run()
	require.ErrorContains(t, plain.rejected, "repeat this with force")
	require.NoError(t, done.err)
	require.Equal(t, workflows.Discarded, done.status.State)
	require.Equal(t, workflows.Discarded, s.State)
	require.Empty(t, b.redelivered)
}

// TestForceWithinTheStep: an operator discards it while the first try to publish
// it is under way. That is the end, and its reason stays.
func TestForceWithinTheStep(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	force := by("bob")
	force.Force = true
	b.redeliverErr = func(int) error {
		b.UpdateWorkflow(deadletters.UpdateDiscard, "", &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { t.Error(err) }, OnComplete: func(any, error) {}}, force)
		return errDown
	}
	done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	s := b.run()
	require.NoError(t, done.err)
	require.Equal(t, workflows.Discarded, s.State)
	require.Equal(t, "bob: because", s.Reason)
	require.Equal(t, 1, b.tried)
}

func TestRedeliverIsNotPossible(t *testing.T) {
	gone := fmt.Errorf("%w: queue holdfast.q.payment is not there: start its consumer", holdfast.ErrUnroutable)
	t.Run("asked for by an operator", func(t *testing.T) {
		b := bury(t, letter(holdfast.Policy{}))
		b.redeliverErr = func(int) error { return gone }
		done := b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
		b.at(time.Hour, func() {
			s := b.status()
			require.Equal(t, workflows.Parked, s.State)
			require.Contains(t, s.Reason, "queue holdfast.q.payment is not there")
			require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter}, b.kinds(), "who asked has the answer")
			b.redeliverErr = nil
		})
		b.ask(2*time.Hour, deadletters.UpdateRedeliver, by("ann"))
		b.signal(3*time.Hour, deadletters.SignalHandled, 2)
		s := b.run()
		require.ErrorContains(t, done.err, "message m-1 cannot be redelivered: holdfast: unroutable: queue holdfast.q.payment is not there: start its consumer")
		require.Equal(t, workflows.Handled, s.State)
		require.Equal(t, 2, b.tried, "repetition does not cure it")
	})
	t.Run("the policy's", func(t *testing.T) {
		b := bury(t, letter(scheduled(time.Minute, time.Minute)))
		b.redeliverErr = func(int) error { return gone }
		b.at(time.Hour, func() {
			require.Equal(t, workflows.Parked, b.status().State)
			require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter, holdfast.AlertParked}, b.kinds())
		})
		b.discard(2 * time.Hour)
		b.run()
	})
}

func edit(text string) deadletters.Request {
	req := by("ann")
	req.Text = text
	return req
}

func TestRedeliverEdited(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{AllowEdits: true}))
	req := edit("better")
	req.ContentType = "text/plain"
	b.ask(time.Minute, deadletters.UpdateRedeliverEdited, req)
	b.signal(2*time.Minute, deadletters.SignalDied, died(1, "worse"))
	b.ask(3*time.Minute, deadletters.UpdateRedeliver, by("bob"))
	b.signal(4*time.Minute, deadletters.SignalHandled, 2)
	s := b.run()
	require.Equal(t, &activities.Edit{Body: []byte("better"), ContentType: "text/plain",
		OriginalSHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}, b.redelivered[0].Edit)
	require.Nil(t, b.redelivered[1].Edit)
	require.Equal(t, []byte("hello"), b.redelivered[1].Letter.Message.Body, "the original again")
	require.Equal(t, "ann", event(t, s, "redeliver-edited").Operator)
}

// TestEditWhileTheBrokerIsAway: two bodies of 1 MiB are more than one payload
// takes.
func TestEditWhileTheBrokerIsAway(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{AllowEdits: true}))
	b.redeliverErr = func(n int) error {
		if n == 1 {
			return errDown
		}
		return nil
	}
	b.ask(time.Minute, deadletters.UpdateRedeliverEdited, edit("better"))
	b.signal(time.Hour, deadletters.SignalHandled, 1)
	b.run()
	require.Equal(t, []byte("better"), b.redelivered[0].Edit.Body)
	require.NotEmpty(t, b.redelivered[0].Edit.OriginalSHA256)
	require.Empty(t, b.redelivered[0].Letter.Message.Body)
}

func TestCompensate(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.notifyErr = func(n int) error {
		if n < 8 {
			return errDown
		}
		return nil
	}
	done := b.ask(time.Minute, workflows.UpdateCompensate, by("ann"))
	busy := b.ask(2*time.Minute, deadletters.UpdateDiscard, deadletters.Request{Operator: "bob", Reason: "x", Force: true})
	b.at(2*time.Minute, func() {
		s := b.status()
		require.Equal(t, workflows.Compensating, s.State)
		require.Equal(t, "compensated; the notice to the other consumers is not confirmed yet", s.Reason)
		require.Empty(t, s.Actions)
		require.Zero(t, done.answered)
	})
	s := b.run()
	require.ErrorContains(t, busy.rejected, "message m-1 is compensating: wait")
	require.NoError(t, done.err)
	require.Equal(t, workflows.Compensated, done.status.State)
	require.Equal(t, workflows.Compensated, s.State)
	require.Equal(t, []string{"died", "compensate", "compensated", "notified"}, happened(s))
	require.Equal(t, "order.placed.compensated", event(t, s, "notified").Text)
	require.Equal(t, 1, b.compensated)
	require.Len(t, b.notified, 1)
	require.Equal(t, []byte("hello"), b.notified[0].Message.Body)
}

func TestPolicyCompensates(t *testing.T) {
	for name, tc := range map[string]struct {
		policy holdfast.PolicyAction
		class  holdfast.ErrorClass
	}{
		"always":    {holdfast.PolicyCompensate, holdfast.ClassTimeout},
		"permanent": {holdfast.PolicyCompensatePermanent, holdfast.ClassPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			l := letter(holdfast.Policy{Action: tc.policy})
			l.Failure.Class = tc.class
			b := bury(t, l)
			s := b.run()
			require.Equal(t, workflows.Compensated, s.State)
			require.Equal(t, "policy", event(t, s, "compensate").Operator)
			require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter}, b.kinds())
		})
	}
}

func TestCompensationFails(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		tried int
		want  string
	}{
		"ten times":  {errDown, 10, "compensation failed: connection refused"},
		"permanent":  {holdfast.Permanent(errors.New("the money is spent")), 1, "compensation failed: the money is spent"},
		"no handler": {fmt.Errorf("%w: no function to compensate topic order.placed", holdfast.ErrNotFound), 1, "no function to compensate topic order.placed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bury(t, letter(holdfast.Policy{}))
			b.compensateErr = func(n int) error {
				if n > tc.tried {
					return nil
				}
				return tc.err
			}
			done := b.ask(time.Minute, workflows.UpdateCompensate, by("ann"))
			b.at(time.Hour, func() {
				s := b.status()
				require.Equal(t, workflows.Parked, s.State)
				require.Contains(t, s.Reason, tc.want)
				require.Equal(t, []string{"redeliver", "compensate", "discard"}, s.Actions)
				require.Equal(t, tc.tried, b.compensated)
				require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter, holdfast.AlertParked}, b.kinds())
				require.Contains(t, b.alerts[1].Reason, tc.want)
				require.Empty(t, b.notified)
			})
			again := b.ask(2*time.Hour, workflows.UpdateCompensate, by("ann"))
			s := b.run()
			require.NoError(t, done.err)
			require.Equal(t, workflows.Parked, done.status.State)
			require.Equal(t, workflows.Compensated, again.status.State)
			require.Equal(t, workflows.Compensated, s.State)
			require.Contains(t, event(t, s, "compensated").Text, "before")
		})
	}
}

func TestNoticeIsNotPossible(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.notifyErr = func(n int) error {
		if n == 1 {
			return fmt.Errorf("%w: the topic is too long", holdfast.ErrInvalid)
		}
		return nil
	}
	done := b.ask(time.Minute, workflows.UpdateCompensate, by("ann"))
	b.at(time.Hour, func() {
		require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter, holdfast.AlertParked}, b.kinds())
	})
	b.ask(2*time.Hour, workflows.UpdateCompensate, by("ann"))
	s := b.run()
	require.Equal(t, workflows.Parked, done.status.State)
	require.Contains(t, done.status.Reason, "compensated, but the notice to the other consumers cannot be published")
	require.Equal(t, workflows.Compensated, s.State)
	require.Len(t, b.notified, 1)
}

func TestGroupIsDown(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.OnActivity(activities.Compensate, mock.Anything, mock.Anything).
		Return(false, temporal.NewTimeoutError(3 /* schedule to close */, nil)).Once()
	done := b.ask(time.Minute, workflows.UpdateCompensate, by("ann"))
	b.discard(48 * time.Hour)
	b.run()
	require.Equal(t, workflows.Parked, done.status.State)
	require.Contains(t, done.status.Reason, "group orders")
}

// TestHandledWhileCompensating: a forced compensation and a redelivery that
// succeeds nevertheless.
func TestHandledWhileCompensating(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.notifyErr = func(n int) error {
		if n < 9 {
			return errDown
		}
		return nil
	}
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	refused := b.ask(2*time.Minute, workflows.UpdateCompensate, by("bob"))
	force := by("bob")
	force.Force = true
	b.ask(3*time.Minute, workflows.UpdateCompensate, force)
	b.signal(4*time.Minute, deadletters.SignalHandled, 1)
	b.signal(5*time.Minute, deadletters.SignalDied, died(1, "a copy"))
	s := b.run()
	require.ErrorContains(t, refused.rejected, "the consumer has not answered redelivery 1")
	require.Equal(t, workflows.Compensated, s.State)
	require.Contains(t, event(t, s, "handled").Text, "the notice undoes it")
	require.Equal(t, 1, s.Duplicates)
}

// TestDiedWhileCompensating: the redelivery that was outstanding when a
// compensation was forced dies; and one that dies after that has failed.
func TestDiedWhileCompensating(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	b.compensateErr = func(n int) error { return errDown }
	force := by("bob")
	force.Force = true
	b.ask(time.Minute, deadletters.UpdateRedeliver, by("ann"))
	b.ask(2*time.Minute, workflows.UpdateCompensate, force)
	b.signal(2*time.Minute+30*time.Second, deadletters.SignalDied, died(1, "again"))
	b.at(2*time.Minute+40*time.Second, func() {
		s := b.status()
		require.Equal(t, workflows.Compensating, s.State)
		require.Equal(t, "again", s.Failure.Reason)
	})
	b.ask(2*time.Hour, deadletters.UpdateRedeliver, by("ann"))
	b.ask(3*time.Hour, workflows.UpdateCompensate, force)
	b.signal(4*time.Hour, deadletters.SignalDied, died(2, "late"))
	b.at(5*time.Hour, func() {
		s := b.status()
		require.Equal(t, workflows.Parked, s.State)
		require.Equal(t, "late", s.Failure.Reason)
		require.Zero(t, s.Duplicates)
	})
	b.discard(6 * time.Hour)
	b.run()
}

// TestDeadLetterContinuesAsNew carries everything that is known into the next
// run.
func TestDeadLetterContinuesAsNew(t *testing.T) {
	b := bury(t, letter(scheduled(time.Minute, 10*time.Hour)))
	b.signal(30*time.Second, deadletters.SignalDied, died(0, "a copy"))
	b.signal(2*time.Minute, deadletters.SignalDied, died(1, "again"))
	b.at(time.Hour, func() { b.SetContinueAsNewSuggested(true) })
	b.ExecuteWorkflow(deadletters.Name, b.in)
	next := renewed(t, b)
	require.Equal(t, b.in.Letter.Message, next.Letter.Message)
	require.Equal(t, workflows.Waits, next.Resumed.State)
	require.Equal(t, 1, next.Resumed.Redeliveries)
	require.Equal(t, 1, next.Resumed.Duplicates)

	begin := b.Now()
	b = buryInput(t, next)
	b.SetStartTime(begin)
	b.at(9*time.Hour, func() { require.Equal(t, workflows.Waits, b.status().State) })
	b.at(9*time.Hour+3*time.Minute, func() { require.Equal(t, workflows.Redelivering, b.status().State, "the time that is left") })
	b.at(10*time.Hour, func() { b.SetContinueAsNewSuggested(true) })
	wait := by("ann")
	wait.Wait = time.Hour
	asked := b.ask(9*time.Hour+30*time.Minute, deadletters.UpdateRedeliver, wait)
	b.ExecuteWorkflow(deadletters.Name, b.in)
	next = renewed(t, b)
	require.Equal(t, 10*time.Hour, b.Now().Sub(begin).Round(time.Second), "it does not wait for who waits")
	require.Empty(t, b.alerts)
	require.Equal(t, workflows.Redelivering, asked.status.State, "it does not claim what it has not seen")
	require.Equal(t, 3, next.Resumed.Redeliveries)

	b = buryInput(t, next)
	b.OnUpsertTypedSearchAttributes(mock.Anything).Return(nil).Twice() // parked, handled; not redelivering again
	b.signal(time.Hour, deadletters.SignalDied, died(3, "third"))
	b.at(2*time.Hour, func() { require.Equal(t, workflows.Parked, b.status().State) })
	b.signal(3*time.Hour, deadletters.SignalHandled, 3)
	s := b.run()
	require.Equal(t, workflows.Handled, s.State)
	require.Equal(t, []string{"died", "redeliver", "died", "redeliver", "redeliver", "died", "handled"}, happened(s))
	require.Empty(t, b.redelivered)
	b.AssertExpectations(t)
}

func renewed(t *testing.T, b *burial) (next deadletters.Input) {
	t.Helper()
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, b.GetWorkflowError(), &again)
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
	require.NotNil(t, next.Resumed)
	return next
}

func TestStoryIsBounded(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	long := string(bytes.Repeat([]byte("ü"), 5000))
	for i := range 120 {
		b.signal(time.Duration(i+1)*time.Second, deadletters.UpdateRedeliver, deadletters.Request{Operator: long})
	}
	b.discard(time.Hour)
	s := b.run()
	require.Len(t, s.Story, 50)
	require.Equal(t, "discard", s.Story[49].What)
	require.LessOrEqual(t, len(s.Story[0].Operator), 200)
}
