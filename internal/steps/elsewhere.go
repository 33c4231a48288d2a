package steps

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/holdfastmq/holdfast/activities"
)

// elsewhere is the answer about a transaction that was begun in another database, or whose
// message this process has no key for: it is as if nobody had answered, and another process is asked.
func elsewhere(txID string, err error) activities.LocalResult {
	return activities.LocalResult{ID: txID, Elsewhere: true, Unreached: true, Error: err.Error()}
}

// forcedAfter is how often an operator's forced decision comes to a process with
// another database than the transaction's before it is carried out without one.
const forcedAfter = 6

// othersAsked reports whether another process is asked if this one fails.
func othersAsked(ctx context.Context) bool {
	return activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt < forcedAfter
}
