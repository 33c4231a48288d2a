package transactions

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// maxRecovery is how many transactions one workflow Recovery decides at most.
const maxRecovery = 200

const (
	// checkBackAllTimeout bounds the check-back of many.
	checkBackAllTimeout = 20 * time.Second
	// unreachedRepeats is how often a sweep is checked back again while nobody
	// answers; the pauses are those of the Schedule.
	unreachedRepeats = 4
)

// Recovery decides the undecided half messages of one sweep of a Keeper, the
// transactions of in, which are all handed over, and returns how each ended: they
// are checked back at once, then delivered or forgotten. What stays unknown, or
// cannot be delivered at once, leaves into a workflow of its own. Where nobody
// answers for any of them, since the database is away for example, they wait
// together, and are checked back again up to four times before they leave.
//
// It lasts seconds, or else some minutes, and a request to cancel it changes
// nothing.
func Recovery(ctx workflow.Context, in Input) (Status, error) {
	in.Cohort = true // its members are decided, and leave, as a cohort's
	t, err := setup(in)
	if err == nil {
		err = t.allHandedOver()
	}
	if err != nil {
		return Status{}, temporal.NewNonRetryableApplicationError(err.Error(), workflows.InvalidInput, err)
	}
	t.recovery = true
	return t.recover(ctx)
}

func (t *transaction) allHandedOver() error {
	for _, m := range t.members {
		if m.tx.Form != activities.HandedOver {
			return fmt.Errorf("%w: transaction %s is %s: a Recovery takes what is handed over", holdfast.ErrInvalid,
				m.tx.ID, m.tx.Form)
		}
	}
	return nil
}

func (t *transaction) recover(ctx workflow.Context) (Status, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	t.ids = workflows.OwnPrefix(ctx)
	if err := t.listen(ctx, ctx); err != nil {
		return Status{}, err
	}
	t.checkBackSweep(ctx)
	t.commit(ctx, t.with(holdfast.Commit))
	t.rollback(ctx, t.with(holdfast.Rollback))
	t.leave(ctx, t.members)
	t.settleRest(ctx)
	if err := workflow.Await(ctx, func() bool {
		return workflow.AllHandlersFinished(ctx) &&
			t.forwarding == 0
	}); err != nil {
		return Status{}, err
	}
	if !t.allFinal() {
		return Status{}, t.renew(ctx)
	}
	s := t.status()
	workflow.SetCurrentDetails(ctx, s.Summary+".")
	return s, nil
}

// checkBackSweep checks all members back; again after a pause, where nobody
// answered for any of them: a workflow for each would reach nobody either.
func (t *transaction) checkBackSweep(ctx workflow.Context) {
	for n := 0; !t.checkBackAll(ctx, t.members) && n < unreachedRepeats; n++ {
		wait := t.in.Schedule.Delays[min(n, len(t.in.Schedule.Delays)-1)]
		t.show(ctx, workflows.Checking, unreachedDetails(t.in.Group, t.members, n+1, wait))
		timer := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: unreachedTimerSummary(n + 2)})
		_ = timer.Get(ctx, nil) // the context is disconnected: it cannot be cancelled
	}
}

// checkBackAll asks the producer group once what became of members, and reports
// whether it answered for any of them. It does not count as a check-back of
// theirs: it hardly waits for what is locked.
func (t *transaction) checkBackAll(ctx workflow.Context, members []*member) (reached bool) {
	var results []activities.LocalResult
	err := t.local(ctx, activities.CheckBackAll, checkBackAllTimeout, checkAllSummary(t.in.Group, members),
		t.step(members), &results)
	if err == nil && len(results) != len(members) {
		err = fmt.Errorf("%d answers for %d transactions", len(results), len(members))
	}
	if err == nil {
		t.askOthers(ctx, members, results)
	}
	for i, m := range members {
		m.atOnce = true
		if err != nil {
			m.reason = "the check-back of many: " + workflows.RootMessage(err)
			continue
		}
		m.answer(results[i])
		reached = reached || !results[i].Unreached
	}
	t.showKeys(ctx)
	return reached
}

// askOthers asks other processes of the group about those of members whose database
// is not that of the process that answered, and puts what they say in results.
func (t *transaction) askOthers(ctx workflow.Context, members []*member, results []activities.LocalResult) {
	var elsewhere []*member
	var at []int
	for i, r := range results {
		if r.Elsewhere {
			elsewhere, at = append(elsewhere, members[i]), append(at, i)
		}
	}
	if len(elsewhere) == 0 {
		return
	}
	var found []activities.LocalResult
	err := workflow.ExecuteActivity(t.asked(ctx, checkAllSummary(t.in.Group, elsewhere), "TemporalTimeout:StartToClose"),
		activities.CheckBackAll, t.step(elsewhere)).Get(ctx, &found)
	if err != nil || len(found) != len(elsewhere) {
		return // nobody has their database: what the first one said counts
	}
	for n, i := range at {
		results[i] = found[n]
	}
}

// Recoveries divides transactions that are handed over among as many workflows
// Recovery as their number and their messages need, in their order. One whose
// messages are too large to share a workflow is alone.
func Recoveries(txs []activities.Tx) [][]activities.Tx {
	var out [][]activities.Tx
	size := 0
	for _, tx := range txs {
		n := 0
		for _, m := range tx.Messages {
			n += messageLength(m)
		}
		last := len(out) - 1
		if last < 0 || len(out[last]) == maxRecovery || size+n > maxCohortBytes {
			out, size = append(out, nil), 0
			last++
		}
		out[last], size = append(out[last], tx), size+n
	}
	return out
}

// RecoveryStartOptions are the options with which a workflow Recovery is started;
// workflowID is a [RecoveryWorkflowID].
func RecoveryStartOptions(workflowID string, in Input) client.StartWorkflowOptions {
	txs := in.Transactions
	o := CohortStartOptions(workflowID, in)
	o.StaticSummary = workflows.Shorten(fmt.Sprintf("recovery of %s of group %s: %s", halfMessages(len(txs)), in.Group,
		countedTopics(txs)))
	o.StaticDetails = recoveryDetails(workflowID, in.Group, txs)
	return o
}

func recoveryDetails(workflowID, group string, txs []activities.Tx) string {
	return fmt.Sprintf("The Keeper of producer group `%s` held %s without an op record: %s. All are checked back at "+
		"once, then delivered or forgotten.\n\n"+
		"One that stays unknown, or that cannot be delivered at once, goes on in a workflow of its own, `%s` and its ID, "+
		"which is linked below. "+
		"The result says how each ended.", group, halfMessages(len(txs)), countedTopics(txs), ownIDs(workflowID, group))
}

func checkAllSummary(group string, members []*member) string {
	return fmt.Sprintf("ask group %s what became of %d transactions: %s", group, len(members),
		countedTopics(txsOf(members)))
}

func unreachedTimerSummary(next int) string {
	return fmt.Sprintf("nobody answered: until check-back %d of all", next)
}

func unreachedDetails(group string, members []*member, n int, wait time.Duration) string {
	return fmt.Sprintf("**Checking back**: nobody of group `%s` answered what became of %s, in check-back %d of %d; "+
		"the next one comes in %v. After the last, each goes on in a workflow of its own.\n\nLast error: %s",
		group, halfMessages(len(members)), n, unreachedRepeats+1, wait, workflows.OrNone(members[0].reason))
}

func halfMessages(n int) string {
	if n == 1 {
		return "1 half message"
	}
	return fmt.Sprintf("%d half messages", n)
}
