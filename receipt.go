package holdfast

import "context"

// Receipt says what is known of a transaction when a call returns.
type Receipt struct {
	// TxID is the transaction's ID.
	TxID string `json:"tx"`
	// Group is its producer group.
	Group string `json:"group"`
	// Resolution is what is known of the local transaction; Unknown comes with an
	// error.
	Resolution Resolution `json:"resolution"`
	// Messages are the messages as delivered: with their IDs, and with what the
	// local transaction changed. Empty unless Resolution is Commit.
	Messages []Message `json:"messages,omitempty"`
	// WorkflowID and RunID find the transaction's history in Temporal. RunID is
	// empty where the answer to its start was lost.
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

// Checker answers check-backs for local transactions that are not in a gorm
// database. Check is called from many goroutines, and again for the same
// transaction until it knows.
type Checker interface {
	// Check says what became of the local transaction of m, which is the first
	// of the transaction's messages. An error means Unknown. Rollback is a
	// promise: that local transaction must never commit later.
	Check(ctx context.Context, m Message) (Resolution, error)
}

// CheckerFunc is a function as a [Checker].
type CheckerFunc func(ctx context.Context, m Message) (Resolution, error)

// Check calls f.
func (f CheckerFunc) Check(ctx context.Context, m Message) (Resolution, error) { return f(ctx, m) }
