// Package actions carries out one action on many workflows, so many at a time, and says of
// each what became of it: a verdict, a detail and a remedy. The rooms of transactions, dead
// letters and sagas say what one action is; this one knows no noun.
package actions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Verdict is what became of an action on a transaction, a dead letter or a saga.
type Verdict string

// The verdicts. Those that were seen come first.
const (
	Handled     Verdict = "handled"     // redelivered, and handled
	Compensated Verdict = "compensated" // undone, and the notice is published
	Discarded   Verdict = "discarded"   // dropped
	Restarted   Verdict = "restarted"   // its workflow runs again
	Committed   Verdict = "committed"   // a transaction
	RolledBack  Verdict = "rolled-back"
	Rechecked   Verdict = "rechecked" // and still undecided, or undelivered
	Paused      Verdict = "paused"    // a saga, and the next five too
	Resumed     Verdict = "resumed"
	Removed     Verdict = "removed" // a consumer
	Unbound     Verdict = "unbound" // a consumer's queue, from a topic
	Retried     Verdict = "retried"
	Skipped     Verdict = "skipped"
	Answered    Verdict = "answered"
	Redelivered Verdict = "redelivered"         // in its queue; the consumer has not answered yet
	Undoing     Verdict = "compensating"        // accepted, and not over yet
	Settled     Verdict = "settled already"     // before, or by somebody else
	FailedAgain Verdict = "failed again"        // the consumer failed, or the compensation
	Stuck       Verdict = "compensation failed" // of a saga: a step waits for an operator
	Refused     Verdict = "refused"             // nothing was done
	Unknown     Verdict = "unknown"             // it may have taken effect
	Unsent      Verdict = "not sent"            // the command ended before
)

// Verdicts are all of them, in the order in which they are counted.
var Verdicts = []Verdict{Handled, Compensated, Discarded, Restarted, Committed, RolledBack, Rechecked, Paused, Resumed,
	Removed, Unbound, Retried, Skipped, Answered,
	Redelivered, Undoing, Settled, FailedAgain, Stuck, Refused, Unknown, Unsent}

// Outcome is what became of an action on one transaction, dead letter or saga, for
// --json.
type Outcome struct {
	ID         string  `json:"id"`
	Consumer   string  `json:"consumer,omitempty"`
	WorkflowID string  `json:"workflow_id"`
	Outcome    Verdict `json:"outcome"`
	// Detail is the error, or what else there is to say; Remedy is what to do.
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// State is its state, as far as it was seen.
	State string `json:"state,omitempty"`
	// Redelivery is the redelivery's number.
	Redelivery int `json:"redelivery,omitempty"`

	Pending bool   `json:"-"` // another look may tell more
	Group   string `json:"-"` // a transaction's, or the one that compensates, if it is known
}

// Bad reports whether the action did not do what was asked for, or is not known
// to have done it. waited says that there was time to see it; named, that this
// very letter was asked for.
func (o Outcome) Bad(waited, named bool) bool {
	switch o.Outcome {
	case FailedAgain, Stuck, Refused, Unknown, Unsent:
		return true
	case Redelivered, Undoing:
		return waited
	case Settled:
		return named
	}
	return false
}

// Summarize counts outcomes, such as "3 dead letters: 2 handled, 1 unknown".
func Summarize(noun string, all []Outcome) string {
	var parts []string
	for _, v := range Verdicts {
		n := len(slices.DeleteFunc(slices.Clone(all), func(o Outcome) bool { return o.Outcome != v }))
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return text.Plural(len(all), noun) + ": " + strings.Join(parts, ", ")
}
