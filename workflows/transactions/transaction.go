package transactions

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// transaction is a run of the workflow Transaction.
type transaction struct {
	in       Input
	recovery bool // it is a workflow Recovery
	// ids is the prefix in the IDs of the members' own workflows.
	ids      string
	members  []*member
	renewing bool            // the members are to go on in a new run
	state    workflows.State // what HoldfastState was last set to; empty: never
	keys     []string        // what HoldfastKey was last set to
	// forwarding are the signals that wait for their member to leave.
	forwarding int
	alerting   int // alerts that are being told beside the rest
}

// Transaction coordinates the transactions of in until each has ended, and
// returns how. It fails only for an invalid input: everything else is a
// member's end, or waits for an operator.
//
// A request to cancel the workflow is an operator's rollback: whatever is not
// decided yet is rolled back if the database allows it, and otherwise ends as
// the database says.
func Transaction(ctx workflow.Context, in Input) (Status, error) {
	t, err := setup(in)
	if err != nil {
		return Status{}, temporal.NewNonRetryableApplicationError(err.Error(), workflows.InvalidInput, err)
	}
	return t.run(ctx)
}

func setup(in Input) (*transaction, error) {
	if err := in.validate(); err != nil {
		return nil, err
	}
	if err := in.Schedule.Validate(); err != nil {
		return nil, err
	}
	t := &transaction{in: in.withDefaults()}
	for i, tx := range in.Transactions {
		m := newMember(tx)
		if len(in.Carried) > 0 {
			m.resume(in.Carried[i])
		}
		t.members = append(t.members, m)
	}
	t.keys = t.findable()
	return t, nil
}

func (t *transaction) run(ctx workflow.Context) (Status, error) {
	parent := ctx
	ctx, _ = workflow.NewDisconnectedContext(parent)
	t.ids = workflows.OwnPrefix(ctx)
	if err := t.listen(ctx, parent); err != nil {
		return Status{}, err
	}
	t.sendHalves(ctx)
	t.runLocals(ctx)
	t.commit(ctx, slices.DeleteFunc(t.with(holdfast.Commit), func(m *member) bool { return m.full }))
	t.rollback(ctx, t.with(holdfast.Rollback))
	if t.in.Cohort {
		t.part(ctx)
	}
	t.settleRest(ctx)
	if err := workflow.Await(ctx, func() bool {
		return workflow.AllHandlersFinished(ctx) &&
			t.forwarding+t.alerting == 0
	}); err != nil {
		return Status{}, err
	}
	if !t.allFinal() {
		return Status{}, t.renew(ctx)
	}
	return t.status(), nil
}

// sendHalves stores the half messages. A member whose half message was not
// confirmed does not run its local transaction. It is checked back, nevertheless:
// this task may be a repetition, and the first run may have come further.
func (t *transaction) sendHalves(ctx workflow.Context) {
	var sending []*member
	for _, m := range t.members {
		if m.state == workflows.Sending {
			sending = append(sending, m)
		}
	}
	if len(sending) == 0 {
		return
	}
	var results []activities.StepResult
	err := t.local(ctx, activities.HalfSend, 20*time.Second, halfSummary(t.in.Group, sending), t.step(sending), &results)
	for i, m := range sending {
		switch {
		case err != nil:
			m.unstored("half message: " + err.Error())
		case results[i].Error != "":
			m.unstored(results[i].Error)
		default:
			m.state, m.stored = workflows.Running, true
			if results[i].Database != "" {
				m.tx.Database = results[i].Database
			}
		}
	}
}

// commit delivers the messages of members in one step. Those that cannot be
// delivered so are left Delivering.
func (t *transaction) commit(ctx workflow.Context, members []*member) {
	if len(members) == 0 {
		return
	}
	var results []activities.StepResult
	err := t.local(ctx, activities.Commit, 15*time.Second, t.commitSummary(members), t.step(members), &results)
	for i, m := range members {
		switch {
		case err != nil:
			m.failed(workflows.Delivering, err.Error())
		case results[i].Error != "":
			m.undelivered(results[i])
		default:
			m.end(workflows.Committed, "")
		}
	}
}

// rollback lets the half queue forget the half messages of members.
func (t *transaction) rollback(ctx workflow.Context, members []*member) {
	if len(members) == 0 {
		return
	}
	// A lost op record costs a hand-over that finds nothing to do.
	_ = t.local(ctx, activities.Rollback, 15*time.Second, t.rollbackSummary(members), t.step(members), nil)
	for _, m := range members {
		if m.refusal != "" {
			m.end(workflows.Refused, m.refusal)
			continue
		}
		m.end(workflows.RolledBack, m.reason)
	}
}

// settleRest brings every member that is left to its end, each by itself, or to
// where it can go on in a new run.
func (t *transaction) settleRest(ctx workflow.Context) {
	settling := 0
	for _, m := range t.members {
		if m.state.Final() {
			continue
		}
		settling++
		workflow.GoNamed(ctx, "settle "+m.tx.ID, func(ctx workflow.Context) {
			t.settle(ctx, m)
			settling--
		})
	}
	_ = workflow.Await(ctx, func() bool { return settling == 0 }) // the context is disconnected: it cannot be cancelled
	t.showEnd(ctx)
}

// with returns the members that are resolved as r and not at their end.
func (t *transaction) with(r holdfast.Resolution) []*member {
	var out []*member
	for _, m := range t.members {
		if m.resolution == r && !m.state.Final() {
			out = append(out, m)
		}
	}
	return out
}

func (t *transaction) allFinal() bool {
	for _, m := range t.members {
		if !m.state.Final() {
			return false
		}
	}
	return true
}

func (t *transaction) step(members []*member) activities.StepInput {
	in := activities.StepInput{Group: t.in.Group, Transactions: make([]activities.Tx, len(members))}
	for i, m := range members {
		in.Transactions[i] = m.tx
	}
	return in
}

// local runs a step as a local activity, once: what fails is repeated by the
// slower ways of settle, or not at all.
func (t *transaction) local(ctx workflow.Context, name string, timeout time.Duration, summary string, in,
	out any) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    timeout,
		ScheduleToCloseTimeout: timeout,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                workflows.Shorten(summary),
	})
	return workflow.ExecuteLocalActivity(ctx, name, in).Get(ctx, out)
}
