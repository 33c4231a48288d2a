package cli

import (
	"github.com/holdfastmq/holdfast/workflows"
)

// judge says what a dead letter's state means for an action that it accepted; n
// is the number of the redelivery, if that was the action.
func judge(update string, s workflows.DeadLetterStatus, n int) outcome {
	o := outcome{State: string(s.State), Redelivery: n, group: s.Group}
	say := func(v verdict, detail string) outcome {
		o.Outcome, o.Detail = v, detail
		return o
	}
	switch {
	case s.State == workflows.Discarded && update == workflows.UpdateDiscard:
		return say(isDiscarded, "")
	case s.State == workflows.Handled && update == workflows.UpdateRedeliver:
		return say(isHandled, "")
	case s.State == workflows.Compensated && update == workflows.UpdateCompensate:
		return say(isCompensated, "")
	case s.State.Final():
		return say(isSettled, string(s.State))
	case update == workflows.UpdateDiscard:
		return say(isUnknown, "it is "+string(s.State)+": "+s.Reason)
	case update == workflows.UpdateCompensate && s.State == workflows.Compensating:
		o.pending = true
		return say(isUndoing, s.Reason)
	case update == workflows.UpdateCompensate:
		return say(hasFailed, s.Reason)
	case s.Failure.Redelivery >= n:
		return say(hasFailed, s.Failure.Reason+nowDoing(s))
	case s.State == workflows.Redelivering:
		o.pending = true
		return say(isRedelivered, "the consumer has not answered yet")
	}
	return say(isRefused, s.Reason)
}

// nowDoing says what the policy does about a message that failed again.
func nowDoing(s workflows.DeadLetterStatus) string {
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
