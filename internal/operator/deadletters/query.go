package deadletters

import (
	"fmt"
	"slices"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// States are the states that dead letters can be listed by.
var States = []string{string(workflows.Parked), string(workflows.Waits), string(workflows.Redelivering),
	string(workflows.Compensating),
	string(workflows.Handled), string(workflows.Compensated), string(workflows.Discarded),
	"failed", "terminated", "canceled", "timed-out", server.StateAll}

var errorClasses = []string{string(holdfast.ClassError), string(holdfast.ClassTimeout), string(holdfast.ClassPanic),
	string(holdfast.ClassLost),
	string(holdfast.ClassPermanent), string(holdfast.ClassMalformed), string(holdfast.ClassDropped)}

// Filter says which dead letters are meant. Without states, it means the
// open ones.
type Filter struct {
	Prefix                                 string
	Consumer, Topic, Key, Class, ErrorText string
	// ErrorIs means those of one error, by the Key of its Group: all of it, while ErrorText
	// may be a part.
	ErrorIs       string
	States        []string
	Before, After time.Time // of their workflow's start; the zero time: whenever
	Scan          int       // how many are looked at, about: see Each; 0: all
}

// Validate says what is wrong with a filter.
func (f Filter) Validate() error {
	if err := server.OneOf("state", States, f.States...); err != nil {
		return err
	}
	if f.Class != "" {
		if err := server.OneOf("class", errorClasses, f.Class); err != nil {
			return err
		}
	}
	return server.CheckTexts(f.Consumer, f.Topic, f.Key)
}

// query is the filter as a query for Temporal's visibility store. What it finds
// may be more than what is meant: matches decides.
func (f Filter) query() string {
	terms := []string{"WorkflowType = " + server.Quote(deadflow.Name), "TaskQueue = " +
		server.Quote(workflows.DeadLetterQueue(f.Prefix))}
	if server.Askable(f.Consumer) {
		terms = append(terms, server.BeginsWith(workflows.DeadLetterBegins(f.Prefix, f.Consumer)...))
	}
	terms = append(terms, f.stateTerms())
	if server.Askable(f.Topic) {
		terms = append(terms, workflows.AttributeTopic+" = "+server.Quote(f.Topic))
	}
	if server.Askable(f.Key) {
		terms = append(terms, workflows.AttributeKey+" = "+server.Quote(f.Key))
	}
	terms = append(terms, server.StartTerms(f.Before, f.After)...)
	return strings.Join(terms, " AND ")
}

func (f Filter) stateTerms() string {
	if len(f.States) == 0 {
		return `ExecutionStatus = "Running"`
	}
	if slices.Contains(f.States, server.StateAll) {
		return `ExecutionStatus != "ContinuedAsNew"`
	}
	var terms []string
	for _, s := range f.States {
		switch status := server.ClosedStates[s]; {
		case status != 0:
			terms = append(terms, "ExecutionStatus = "+server.Quote(status.String()))
		case workflows.State(s).Final():
			terms = append(terms, fmt.Sprintf(`(ExecutionStatus = "Completed" AND %s = %s)`, workflows.AttributeState,
				server.Quote(s)))
		default:
			terms = append(terms, fmt.Sprintf(`(ExecutionStatus = "Running" AND %s = %s)`, workflows.AttributeState,
				server.Quote(s)))
		}
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// matches reports whether r is meant. The visibility store is asked for some of
// it too, but cannot be asked for the memo, and may ignore case.
func (f Filter) matches(r Row) bool {
	return (f.Consumer == "" || f.Consumer == r.owner) &&
		(f.Topic == "" || f.Topic == r.Topic) &&
		(f.Key == "" || f.Key == r.Key) &&
		(f.Class == "" || f.Class == r.Class) &&
		(f.ErrorText == "" || text.HasError(r.Reason, f.ErrorText)) &&
		(f.ErrorIs == "" || keyOf(text.NormalError(r.Reason)) == f.ErrorIs)
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

// LettersQuery is the query for the dead letters of a prefix.
func LettersQuery(prefix string) string {
	return "WorkflowType = " + server.Quote(deadflow.Name) + " AND TaskQueue = " +
		server.Quote(workflows.DeadLetterQueue(prefix))
}
