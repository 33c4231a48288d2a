package deadletters

import (
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// judge says what a dead letter's state means for an action that it accepted; n
// is the number of the redelivery, if that was the action.
func judge(update string, s deadflow.Status, n int) actions.Outcome {
	o := actions.Outcome{State: string(s.State), Redelivery: n, Group: s.Group}
	say := func(v actions.Verdict, detail string) actions.Outcome {
		o.Outcome, o.Detail = v, detail
		return o
	}
	switch {
	case s.State == workflows.Discarded && update == deadflow.UpdateDiscard:
		return say(actions.Discarded, "")
	case s.State == workflows.Handled && update == deadflow.UpdateRedeliver:
		return say(actions.Handled, "")
	case s.State == workflows.Compensated && update == workflows.UpdateCompensate:
		return say(actions.Compensated, "")
	case s.State.Final():
		return say(actions.Settled, string(s.State))
	case update == deadflow.UpdateDiscard:
		return say(actions.Unknown, "it is "+string(s.State)+": "+s.Reason)
	case update == workflows.UpdateCompensate && s.State == workflows.Compensating:
		o.Pending = true
		return say(actions.Undoing, s.Reason)
	case update == workflows.UpdateCompensate:
		return say(actions.FailedAgain, s.Reason)
	case s.Failure.Redelivery >= n:
		return say(actions.FailedAgain, s.Failure.Reason+nowDoing(s))
	case s.State == workflows.Redelivering:
		o.Pending = true
		return say(actions.Redelivered, "the consumer has not answered yet")
	}
	return say(actions.Refused, s.Reason)
}

// nowDoing says what the policy does about a message that failed again.
func nowDoing(s deadflow.Status) string {
	switch s.State {
	case workflows.Waits:
		return " (the policy redelivers it later)"
	case workflows.Compensating:
		return " (the policy compensates it)"
	case workflows.Redelivering:
		return " (and it was redelivered again since)"
	}
	return ""
}
