package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/workflows"
)

// verdict is what became of an action on a transaction, a dead letter or a saga.
type verdict string

// The verdicts. Those that were seen come first.
const (
	isHandled     verdict = "handled"     // redelivered, and handled
	isCompensated verdict = "compensated" // undone, and the notice is published
	isDiscarded   verdict = "discarded"   // dropped
	isRestarted   verdict = "restarted"   // its workflow runs again
	isCommitted   verdict = "committed"   // a transaction
	isRolledBack  verdict = "rolled-back"
	isRechecked   verdict = "rechecked" // and still undecided, or undelivered
	isPaused      verdict = "paused"    // a saga, and the next five too
	isResumed     verdict = "resumed"
	isRetried     verdict = "retried"
	isSkipped     verdict = "skipped"
	isAnswered    verdict = "answered"
	isRedelivered verdict = "redelivered"         // in its queue; the consumer has not answered yet
	isUndoing     verdict = "compensating"        // accepted, and not over yet
	isSettled     verdict = "settled already"     // before, or by somebody else
	hasFailed     verdict = "failed again"        // the consumer failed, or the compensation
	isStuck       verdict = "compensation failed" // of a saga: a step waits for an operator
	isRefused     verdict = "refused"             // nothing was done
	isUnknown     verdict = "unknown"             // it may have taken effect
	isUnsent      verdict = "not sent"            // the command ended before
)

var verdicts = []verdict{isHandled, isCompensated, isDiscarded, isRestarted, isCommitted, isRolledBack, isRechecked, isPaused, isResumed, isRetried, isSkipped, isAnswered,
	isRedelivered, isUndoing, isSettled, hasFailed, isStuck, isRefused, isUnknown, isUnsent}

// outcome is what became of an action on one transaction, dead letter or saga, for
// --json.
type outcome struct {
	ID         string  `json:"id"`
	Consumer   string  `json:"consumer,omitempty"`
	WorkflowID string  `json:"workflow_id"`
	Outcome    verdict `json:"outcome"`
	// Detail is the error, or what else there is to say; Remedy is what to do.
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// State is its state, as far as it was seen.
	State string `json:"state,omitempty"`
	// Redelivery is the redelivery's number.
	Redelivery int `json:"redelivery,omitempty"`

	pending bool   // another look may tell more
	group   string // a transaction's, or the one that compensates, if it is known
}

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

// bad reports whether the action did not do what was asked for, or is not known
// to have done it. waited says that there was time to see it; named, that this
// very letter was asked for.
func (o outcome) bad(waited, named bool) bool {
	switch o.Outcome {
	case hasFailed, isStuck, isRefused, isUnknown, isUnsent:
		return true
	case isRedelivered, isUndoing:
		return waited
	case isSettled:
		return named
	}
	return false
}

// summarize counts outcomes, such as "3 dead letters: 2 handled, 1 unknown".
func summarize(noun string, all []outcome) string {
	var parts []string
	for _, v := range verdicts {
		n := len(slices.DeleteFunc(slices.Clone(all), func(o outcome) bool { return o.Outcome != v }))
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return plural(len(all), noun) + ": " + strings.Join(parts, ", ")
}
