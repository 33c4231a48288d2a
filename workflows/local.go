package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
)

// registeredTimeout is how long a worker with the named handler is looked for.
const registeredTimeout = time.Minute

// runLocals runs the local transactions, in their forms. A split one is the
// application's own: settle waits for it.
func (t *transaction) runLocals(ctx workflow.Context) {
	var running []*member
	for _, m := range t.members {
		switch {
		case m.state != Running || m.elsewhere:
		case m.tx.Form == activities.Split:
			m.state = Waiting
		default:
			running = append(running, m)
		}
	}
	if len(running) == 0 {
		return
	}
	var results []activities.LocalResult
	err := t.local(ctx, activities.LocalTransaction, t.in.LocalTimeout, localSummary(running), t.step(running), &results)
	for i, m := range running {
		switch {
		case err != nil:
			m.answer(activities.LocalResult{Error: "local transaction: " + err.Error()})
		case results[i].Elsewhere:
			continue // stays Running: settle takes it to where it can run
		default:
			m.answer(results[i])
		}
		m.state = Checking
	}
	t.showKeys(ctx)
}

// runElsewhere runs the local transaction of m in the process that holds its
// closure, or on a worker that has its handler. If that process is gone, a
// check-back follows at once, which is safe: its answer and a late COMMIT
// exclude each other.
func (t *transaction) runElsewhere(ctx workflow.Context, m *member) {
	options := workflow.ActivityOptions{
		StartToCloseTimeout: t.in.LocalTimeout,
		HeartbeatTimeout:    10 * time.Second,
		Summary:             shorten(elsewhereSummary(m)),
	}
	if m.tx.Form == activities.Inline {
		options.TaskQueue = InstanceQueue(t.in.Prefix, t.in.Group, m.tx.Instance)
		options.ScheduleToStartTimeout = t.in.ReachTimeout
		options.RetryPolicy = &temporal.RetryPolicy{MaximumAttempts: 1}
	} else {
		options.TaskQueue = TaskQueue(t.in.Prefix, t.in.Group)
		options.ScheduleToCloseTimeout = t.in.LocalTimeout + registeredTimeout
		options.RetryPolicy = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1,
			MaximumAttempts: int32(registeredTimeout / time.Second)}
	}
	var result activities.LocalResult
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activities.LocalTransactionInProcess,
		activities.LocalInput{Group: t.in.Group, Transaction: m.tx}).Get(ctx, &result)
	if err != nil {
		result = activities.LocalResult{Resolution: holdfast.Unknown, Error: elsewhereError(m, err)}
	}
	m.answer(result)
	m.state, m.atOnce = Checking, true
}
