package cli

import (
	"fmt"
	"slices"
	"strings"
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
