package workflows

import (
	"strings"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
)

// DefaultPrefix is the prefix that is no part of the workflows' IDs.
const DefaultPrefix = "holdfast"

// Kind is what a workflow coordinates, as its ID says.
type Kind string

// The kinds of workflows.
const (
	KindTransaction Kind = "tx"
	KindCohort      Kind = "cohort"
	KindRecovery    Kind = "recovery"
	KindSaga        Kind = "saga"
	KindSagaCohort  Kind = "sagas"
	KindDeadLetter  Kind = "dead"
)

// begin is what the IDs of a prefix and kind begin with. The prefix is part of
// every ID, so that two installations share a namespace without meeting; the
// default one is not, and the IDs from before it was have none either.
func (k Kind) begin(prefix string) string {
	if prefix == "" || prefix == DefaultPrefix {
		return string(k) + "/"
	}
	return prefix + ":" + string(k) + "/"
}

// Begins returns what the IDs of the prefix's workflows of kind k begin with: today's
// and, where they differ, those from before the prefix was part of them.
func (k Kind) Begins(prefix string) []string {
	today, before := k.begin(prefix), k.begin("")
	if today == before {
		return []string{today}
	}
	return []string{today, before}
}

// WorkflowID returns the ID of the workflow of one transaction.
func WorkflowID(prefix, group, txID string) string {
	return KindTransaction.begin(prefix) + group + "/" + escapePart(txID)
}

// CohortWorkflowID returns the ID of the workflow that the transactions of one
// moment share; id is made for it.
func CohortWorkflowID(prefix, group, id string) string {
	return KindCohort.begin(prefix) + group + "/" + id
}

// RecoveryWorkflowID returns the ID of a workflow Recovery; id is made for it.
func RecoveryWorkflowID(prefix, group, id string) string {
	return KindRecovery.begin(prefix) + group + "/" + id
}

// SagaID returns the ID of a saga, which is that of its workflow.
func SagaID(prefix, group, name, key string) string {
	return KindSaga.begin(prefix) + group + "/" + name + "/" + escapeKey(key)
}

// SagaCohortID returns the ID of the workflow that the sagas of one moment share; id is made
// for it.
func SagaCohortID(prefix, group, id string) string {
	return KindSagaCohort.begin(prefix) + group + "/" + id
}

// undoSuffix ends the ID of the workflow that undoes a saga which has ended.
const undoSuffix = "/undo"

// SagaUndoID returns the ID of the workflow that undoes a saga which has ended; id
// is the saga's.
func SagaUndoID(id string) string { return id + undoSuffix }

// DeadLetterID returns the ID of the workflow of a dead letter: the same for
// every copy of it, so that duplicates collapse, but for d.Copy. What has no consumer
// goes by its queue's name.
func DeadLetterID(prefix string, d holdfast.DeadLetter) string {
	owner := d.Failure.Consumer
	if owner == "" {
		owner = d.Queue
	}
	return KindDeadLetter.begin(prefix) + escapePart(owner) + "/" + escapePart(d.ID+d.Copy)
}

// DeadLetterBegins returns what the IDs of the dead letters' workflows of a consumer, or
// of a queue, begin with.
func DeadLetterBegins(prefix, owner string) []string {
	begins := KindDeadLetter.Begins(prefix)
	for i := range begins {
		begins[i] += escapePart(owner) + "/"
	}
	return begins
}

// ID is what the ID of a workflow says. Owner and Key are as they were given: an ID that
// is not printable ASCII stands escaped in the workflow's.
type ID struct {
	// Prefix is empty for the default one, and for a workflow that was started before
	// the prefix was part of its ID.
	Prefix string
	Kind   Kind
	// Owner is the producer group or, of a dead letter, the consumer or the queue.
	Owner string
	// Name is that of a saga's definition.
	Name string
	// Key is the transaction's ID, the saga's key or the dead message's ID; of a
	// workflow that is shared, what was made for it.
	Key string
	// Undo says that it undoes a saga which has ended.
	Undo bool
}

// ParseID takes a workflow's ID apart; ok is false where it is none of Holdfast's.
func ParseID(workflowID string) (id ID, ok bool) {
	head, rest, _ := strings.Cut(workflowID, "/")
	if prefix, kind, has := strings.Cut(head, ":"); has {
		id.Prefix, head = prefix, kind
		if prefix == "" {
			return ID{}, false
		}
	}
	id.Kind = Kind(head)
	if id.Owner, id.Key, ok = cutPart(rest); !ok {
		return ID{}, false
	}
	switch id.Kind {
	case KindTransaction, KindCohort, KindRecovery, KindSagaCohort, KindDeadLetter:
		id.Key = unescapePart(id.Key)
		return id, true
	case KindSaga:
		ok = id.splitSaga()
		return id, ok
	}
	return ID{}, false
}

// splitSaga takes the rest of a saga's ID apart. A key may be "undo"; one that has a
// slash is escaped.
func (id *ID) splitSaga() bool {
	id.Name, id.Key, _ = strings.Cut(id.Key, "/")
	if key, undo := strings.CutSuffix(id.Key, undoSuffix); undo && key != "" {
		id.Key, id.Undo = key, true
	}
	written := id.Key
	id.Key = unescape(written, escapeKey)
	return written != "" && (id.Key != written || !strings.Contains(written, "/"))
}

// String is the workflow's ID.
func (id ID) String() string {
	s := id.Kind.begin(id.Prefix) + escapePart(id.Owner) + "/"
	if id.Kind != KindSaga {
		return s + escapePart(id.Key)
	}
	if s += id.Name + "/" + escapeKey(id.Key); id.Undo {
		s = SagaUndoID(s)
	}
	return s
}

// Saga returns the ID of the saga that the workflow is of.
func (id ID) Saga() string {
	id.Undo = false
	return id.String()
}

// WithoutGroup returns the name and the key in a saga's ID, as they stand in the keys of
// the sagas that are its steps: with the key's slashes, since a/b is not a.b. What is
// not such an ID may be that of a saga, too: whoever started it chose it.
func WithoutGroup(sagaID string) string {
	if id, ok := ParseID(sagaID); ok {
		return id.Name + "." + id.Key
	}
	_, tail, _ := strings.Cut(strings.TrimPrefix(sagaID, KindSaga.begin("")), "/")
	return strings.ReplaceAll(tail, "/", ".")
}

// Shared reports whether it is a workflow that transactions share; sagas share others.
func (id ID) Shared() bool { return id.Kind == KindCohort || id.Kind == KindRecovery }

// BeforePrefixes returns the ID that the workflow would have had before the prefix
// was part of it; ok is false where that is no other.
func BeforePrefixes(workflowID string) (before string, ok bool) {
	id, known := ParseID(workflowID)
	if !known || id.Prefix == "" {
		return workflowID, false
	}
	id.Prefix = ""
	return id.String(), true
}

// IsOurs reports whether a workflow is one of an installation with that prefix, by
// its ID and its task queue: two installations may have had the same IDs before the
// prefix was part of them.
func IsOurs(prefix, workflowID, taskQueue string) bool {
	id, ok := ParseID(workflowID)
	switch {
	case !ok:
		return false
	case id.Prefix != "":
		return id.Prefix == prefix
	case id.Kind == KindDeadLetter:
		return taskQueue == DeadLetterQueue(prefix)
	}
	return taskQueue == TaskQueue(prefix, id.Owner)
}

// OwnPrefix is the prefix in the ID of the workflow that runs: those that it starts
// or signals have the same, so that one from before the prefix was part of the IDs
// goes on with IDs as it knows them.
func OwnPrefix(ctx workflow.Context) string {
	id, _ := ParseID(workflow.GetInfo(ctx).WorkflowExecution.ID)
	return id.Prefix
}

// TaskQueue returns the name of the task queue of a producer group.
func TaskQueue(prefix, group string) string { return prefix + "." + group }

// InstanceQueue returns the name of the task queue of one process of a group.
func InstanceQueue(prefix, group, instance string) string {
	return prefix + "." + group + "." + instance
}

// DeadLetterQueue returns the name of the task queue of the workflows DeadLetter,
// which every worker of the prefix serves. No producer group's name has a slash.
func DeadLetterQueue(prefix string) string { return prefix + "/dead-letters" }
