package transactions

import (
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// settle brings one member to its end, however long that takes, or to where it
// can go on in a new run.
func (t *transaction) settle(ctx workflow.Context, m *member) {
	for !m.state.Final() && (m.cancelled && m.undecided() || m.state == workflows.Running || !t.tooLong(ctx)) {
		switch {
		case m.resolution == holdfast.Rollback:
			t.rollback(ctx, []*member{m})
		case m.resolution == holdfast.Commit && m.state != workflows.Delivering:
			t.showKeys(ctx)
			t.commit(ctx, []*member{m})
		case m.resolution == holdfast.Commit:
			t.deliver(ctx, m)
		case m.cancelled:
			t.rollbackForCancel(ctx, m)
		case m.state == workflows.Running:
			t.runElsewhere(ctx, m)
		default:
			t.ask(ctx, m)
		}
	}
}

// ask waits for the next check-back's time, or for whoever decides before it,
// and asks. When the schedule is exhausted it parks instead.
func (t *transaction) ask(ctx workflow.Context, m *member) {
	if m.checks.asked() > 0 {
		m.checks.Age = workflow.Now(ctx).Sub(m.firstCheck)
	}
	wait, park := m.checks.next(t.in.Schedule)
	switch {
	case m.atOnce:
		m.atOnce = false
	case park != "":
		t.park(ctx, m, park+lastAnswer(m))
		return
	default:
		if m.checks.asked() > 0 {
			t.show(ctx, workflows.Checking, checkingDetails(m, wait))
		}
		if t.waitFor(ctx, m, wait, checkTimerSummary(m)) || !m.undecided() {
			return
		}
	}
	t.checkBack(ctx, m)
}

// waitFor waits until the time has passed or the member was woken, decided or
// cancelled, and reports whether it was.
func (t *transaction) waitFor(ctx workflow.Context, m *member, wait time.Duration, summary string) bool {
	woken, resolution := m.woken, m.resolution
	m.resting = true
	ok, _ := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: wait,
		TimerOptions: workflow.TimerOptions{Summary: workflows.Shorten(summary)}},
		func() bool { return m.woken != woken || m.resolution != resolution || t.renewing })
	m.resting = false
	return ok
}

// checkBack asks the producer group once.
func (t *transaction) checkBack(ctx workflow.Context, m *member) {
	_ = m.asking.Lock(ctx)
	defer m.asking.Unlock()
	if !m.undecided() {
		return
	}
	m.state = workflows.Checking
	if m.checks.asked() == 0 {
		m.firstCheck = workflow.Now(ctx)
	}
	var result activities.LocalResult
	err := workflow.ExecuteActivity(t.asked(ctx, checkSummary(t.in.Group, m), activities.UnreachedType,
		"TemporalTimeout:StartToClose"), activities.CheckBack,
		activities.LocalInput{Group: t.in.Group, Transaction: m.tx}).Get(ctx, &result)
	switch {
	case err != nil:
		m.checks.Unreached++
		m.failed(workflows.Checking, unreachedReason(t.in.Group, err))
	case result.Resolution == holdfast.Unknown:
		m.checks.Answered++
		m.failed(workflows.Checking, result.Error)
	default:
		m.answer(result)
	}
}

// askedAtMost is how many processes of the group are asked, one after the other, to
// find one that has the transaction's database.
const askedAtMost = 8

// asked are the options of an activity that any process of the group answers which
// has the transaction's database; others are asked after a moment.
func (t *transaction) asked(ctx workflow.Context, summary string, final ...string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              workflows.TaskQueue(t.in.Prefix, t.in.Group),
		StartToCloseTimeout:    15 * time.Second,
		ScheduleToCloseTimeout: time.Minute,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1.5,
			MaximumInterval: 2 * time.Second, MaximumAttempts: askedAtMost,
			NonRetryableErrorTypes: append(final, "PanicError")},
		Summary: workflows.Shorten(summary),
	})
}

// deliver publishes the messages of a committed member until the broker has
// confirmed them. A message that no consumer is bound for is tried a few times
// more, then parks: the durable timer of which it is tried again, without an operator,
// is what notices the binding if nobody tells of it.
func (t *transaction) deliver(ctx workflow.Context, m *member) {
	options := workflow.ActivityOptions{
		TaskQueue:           workflows.TaskQueue(t.in.Prefix, t.in.Group),
		StartToCloseTimeout: 15 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2,
			MaximumInterval: time.Minute},
		Summary: workflows.Shorten(t.commitSummary([]*member{m})),
	}
	defer t.tellLong(ctx, m)()
	if m.full {
		t.awaitRoom(ctx, m)
	}
	for n := 0; !t.tooLong(ctx); n++ {
		if m.state != workflows.Parked {
			t.show(ctx, workflows.Delivering, deliveringDetails(m))
		}
		err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activities.CommitUntilConfirmed,
			activities.LocalInput{Group: t.in.Group, Transaction: m.tx}).Get(ctx, nil)
		if err == nil {
			m.end(workflows.Committed, "")
			return
		}
		again := m.state == workflows.Parked
		m.failed(workflows.Delivering, workflows.RootMessage(err))
		if t.again(ctx, m, err) {
			n--
			continue
		}
		if wait, ok := nextUnrouted(n); ok && !again && !m.full {
			t.waitFor(ctx, m, wait, unroutedTimerSummary(m))
			continue
		}
		tries := n - len(unroutedDelays)
		if m.full {
			tries = len(parkedDelays) // each gives the others the message again
		}
		if t.parkUnrouted(ctx, m, again, tries) {
			continue
		}
		m.state = workflows.Delivering
		return
	}
}

// parkUnrouted parks what cannot be delivered, and reports whether its time has come to
// be tried again, parked as it is. again says that it was parked before, and that
// whoever should know was told; n counts these tries. A message for which repetition
// does not help waits for an operator only, as everything does that parked before
// there was such a timer.
func (t *transaction) parkUnrouted(ctx workflow.Context, m *member, again bool, n int) bool {
	if !m.full && !unrouted(m.reason) || workflow.GetVersion(ctx, "unrouted goes on", workflow.DefaultVersion, 1) ==
		workflow.DefaultVersion {
		m.goesOn = false
		t.park(ctx, m, m.reason)
		return false
	}
	m.state, m.goesOn = workflows.Parked, true
	t.show(ctx, workflows.Parked, t.parkedDetails(m))
	woken, resolution := m.woken, m.resolution
	if !again {
		t.alert(ctx, m)
	}
	if m.woken != woken || m.resolution != resolution {
		return false
	}
	return !t.waitFor(ctx, m, parkedUnrouted(n), bindingTimerSummary(m)) && !t.renewing
}

// unrouted reports whether a reason says that no queue is bound for a message.
func unrouted(reason string) bool { return strings.Contains(reason, holdfast.ErrUnroutable.Error()) }

// park waits for an operator, and tells whoever should know. An operator may be
// there before the alert is out.
func (t *transaction) park(ctx workflow.Context, m *member, reason string) {
	m.state, m.reason = workflows.Parked, reason
	t.show(ctx, workflows.Parked, t.parkedDetails(m))
	woken, resolution := m.woken, m.resolution
	t.alert(ctx, m)
	_ = workflow.Await(ctx, func() bool { return m.woken != woken || m.resolution != resolution || t.renewing })
}

// alert says that m is parked. That it cannot be said changes nothing. Workflows
// that parked before there were alerts have none in their histories.
func (t *transaction) alert(ctx workflow.Context, m *member) {
	if workflow.GetVersion(ctx, "alert when parked", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	first := m.tx.Messages[0]
	_ = t.local(ctx, activities.Alert, 5*time.Second, "alert: parked, "+membersTopics([]*member{m}), holdfast.Alert{
		Kind: holdfast.AlertParked, At: workflow.Now(ctx), Group: t.in.Group, ID: m.tx.ID, Topic: first.Topic, Key: first.Key,
		WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID, Parked: true, Reason: m.reason,
		Remedy: t.parkedRemedy(m)}, nil)
}

// rollbackForCancel treats the workflow's cancellation as an operator's
// rollback. Whether it is refused or not, the check-back that follows reads
// what the truth now is.
func (t *transaction) rollbackForCancel(ctx workflow.Context, m *member) {
	m.cancelled = false
	if m.state == workflows.Running {
		m.state = workflows.Checking
	}
	if _, err := t.decide(ctx, m, holdfast.Rollback, Request{Operator: workflows.CancelOperator,
		Reason: "the workflow was asked to cancel"}); err != nil {
		m.reason = err.Error()
		m.wake()
	}
}
