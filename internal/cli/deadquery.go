package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// deadStates are the states that dead letters can be listed by.
var deadStates = []string{string(workflows.Parked), string(workflows.Waits), string(workflows.Redelivering), string(workflows.Compensating),
	string(workflows.Handled), string(workflows.Compensated), string(workflows.Discarded),
	"failed", "terminated", "canceled", "timed-out", stateAll}

var errorClasses = []string{string(holdfast.ClassError), string(holdfast.ClassTimeout), string(holdfast.ClassPanic), string(holdfast.ClassLost),
	string(holdfast.ClassPermanent), string(holdfast.ClassMalformed), string(holdfast.ClassDropped)}

// deadFilter says which dead letters are meant. Without states, it means the
// open ones.
type deadFilter struct {
	prefix                                 string
	consumer, topic, key, class, errorText string
	states                                 []string
	before, after                          time.Time // of their workflow's start; the zero time: whenever
}

// validate says what is wrong with a filter.
func (f deadFilter) validate() error {
	if err := oneOf("state", deadStates, f.states...); err != nil {
		return err
	}
	if f.class != "" {
		if err := oneOf("class", errorClasses, f.class); err != nil {
			return err
		}
	}
	return plain(f.consumer, f.topic, f.key)
}

// query is the filter as a query for Temporal's visibility store. What it finds
// may be more than what is meant: matches decides.
func (f deadFilter) query() string {
	terms := []string{"WorkflowType = " + quote(workflows.DeadLetterName), "TaskQueue = " + quote(workflows.DeadLetterQueue(f.prefix))}
	if askable(f.consumer) {
		terms = append(terms, beginsWith(workflows.DeadLetterBegins(f.prefix, f.consumer)...))
	}
	terms = append(terms, f.stateTerms())
	if askable(f.topic) {
		terms = append(terms, workflows.AttributeTopic+" = "+quote(f.topic))
	}
	if askable(f.key) {
		terms = append(terms, workflows.AttributeKey+" = "+quote(f.key))
	}
	terms = append(terms, startTerms(f.before, f.after)...)
	return strings.Join(terms, " AND ")
}

func (f deadFilter) stateTerms() string {
	if len(f.states) == 0 {
		return `ExecutionStatus = "Running"`
	}
	if slices.Contains(f.states, stateAll) {
		return `ExecutionStatus != "ContinuedAsNew"`
	}
	var terms []string
	for _, s := range f.states {
		switch status := closedStates[s]; {
		case status != 0:
			terms = append(terms, "ExecutionStatus = "+quote(status.String()))
		case workflows.State(s).Final():
			terms = append(terms, fmt.Sprintf(`(ExecutionStatus = "Completed" AND %s = %s)`, workflows.AttributeState, quote(s)))
		default:
			terms = append(terms, fmt.Sprintf(`(ExecutionStatus = "Running" AND %s = %s)`, workflows.AttributeState, quote(s)))
		}
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// matches reports whether r is meant. The visibility store is asked for some of
// it too, but cannot be asked for the memo, and may ignore case.
func (f deadFilter) matches(r deadRow) bool {
	return (f.consumer == "" || f.consumer == r.owner) &&
		(f.topic == "" || f.topic == r.Topic) &&
		(f.key == "" || f.key == r.Key) &&
		(f.class == "" || f.class == r.Class) &&
		(f.errorText == "" || hasError(r.Reason, f.errorText))
}

// splitDeadID returns the consumer, or the queue, and the message's ID of a dead
// letter's workflow. Only a message's ID may have slashes.
func splitDeadID(workflowID string) (owner, id string) {
	known, ok := workflows.ParseID(workflowID)
	if !ok || known.Kind != workflows.KindDeadLetter {
		return "", workflowID
	}
	return known.Owner, known.Key
}

// lettersQuery is the query for the dead letters of a prefix.
func lettersQuery(prefix string) string {
	return "WorkflowType = " + quote(workflows.DeadLetterName) + " AND TaskQueue = " + quote(workflows.DeadLetterQueue(prefix))
}
