package transactions

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// registeredTimeout is how long a worker with the named handler is looked for.
const registeredTimeout = time.Minute

// runLocals runs the local transactions, in their forms. A split one is the
// application's own: settle waits for it.
func (t *transaction) runLocals(ctx workflow.Context) {
	var running []*member
	for _, m := range t.members {
		switch {
		case m.state != workflows.Running || m.elsewhere:
		case m.tx.Form == activities.Split:
			m.state = workflows.Waiting
		default:
			running = append(running, m)
		}
	}
	if len(running) == 0 {
		return
	}
	step := t.step(running)
	step.Cohort = t.in.Cohort
	var results []activities.LocalResult
	err := t.local(ctx, activities.LocalTransaction, t.in.LocalTimeout, localSummary(running), step, &results)
	if t.in.Cohort {
		t.cohortRan(ctx, running, results, err)
		t.showKeys(ctx)
		return
	}
	for i, m := range running {
		switch {
		case err != nil:
			m.answer(activities.LocalResult{Error: "local transaction: " + err.Error()})
		case results[i].Elsewhere:
			continue // stays Running: settle takes it to where it can run
		default:
			m.answer(results[i])
		}
		m.state = workflows.Checking
	}
	t.showKeys(ctx)
}

// cohortRan takes in how the local transactions of a cohort ended, and has those
// run whose closures another process holds. What is still running stays so, and
// leaves.
func (t *transaction) cohortRan(ctx workflow.Context, members []*member, results []activities.LocalResult, err error) {
	var away []*member
	for i, m := range members {
		switch {
		case err != nil:
			m.answer(activities.LocalResult{Error: "local transaction: " + err.Error()})
		case results[i].Running:
			m.elsewhere = true
			continue
		case results[i].Elsewhere && !m.elsewhere:
			m.elsewhere = true
			away = append(away, m)
			continue
		default:
			m.answer(results[i])
		}
		m.state, m.atOnce = workflows.Checking, true
	}
	if len(away) == 0 {
		return
	}
	results = nil
	step := t.step(away)
	step.Cohort = true
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, t.inProcess(away[0], cohortElsewhereSummary(away))),
		activities.LocalTransactionsInProcess, step).Get(ctx, &results)
	if err != nil {
		err = errors.New(elsewhereError(away[0], err))
	}
	t.cohortRan(ctx, away, results, err)
}

// inProcess are the options of an activity that runs in the process that holds
// the closure of m.
func (t *transaction) inProcess(m *member, summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:              workflows.InstanceQueue(t.in.Prefix, t.in.Group, m.tx.Instance),
		ScheduleToStartTimeout: t.in.ReachTimeout,
		StartToCloseTimeout:    t.in.LocalTimeout,
		HeartbeatTimeout:       10 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                workflows.Shorten(summary),
	}
}

// runElsewhere runs the local transaction of m in the process that holds its
// closure, or on a worker that has its handler. If that process is gone, a
// check-back follows at once, which is safe: its answer and a late COMMIT
// exclude each other.
func (t *transaction) runElsewhere(ctx workflow.Context, m *member) {
	options := t.inProcess(m, elsewhereSummary(m))
	if m.tx.Form == activities.Registered {
		options.TaskQueue = workflows.TaskQueue(t.in.Prefix, t.in.Group)
		options.ScheduleToStartTimeout = 0
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
	m.state, m.atOnce = workflows.Checking, true
}
