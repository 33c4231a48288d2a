package deadletters

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// phase is how far a redelivery has come.
type phase int

const (
	sending   phase = iota // the broker has not confirmed it
	confirmed              // the consumer has not answered it
	over                   // answered, not possible, or given up by force
)

// redelivery is one of a dead letter's redeliveries.
type redelivery struct {
	n        int
	operator string
	reason   string
	edit     *activities.Edit // nil: the original; forgotten once it is confirmed
	phase    phase
	answered bool   // the consumer has
	refused  string // why it was not possible
}

// compensation is a dead letter's compensation.
type compensation struct {
	n        int // numbers them
	operator string
	reason   string
	over     bool
	unproven bool // by force: although nothing proves that the message was committed
}

// sending reports whether a redelivery is to be published.
func (d *deadLetter) sending() bool { return d.last != nil && d.last.phase == sending }

// begin makes r the redelivery that is under way.
func (d *deadLetter) begin(ctx workflow.Context, what string, r *redelivery) {
	if d.last != nil {
		d.last.phase = over // a later one's answer is awaited now
	}
	d.redeliveries++
	r.n, d.last = d.redeliveries, r
	d.reason = "being redelivered"
	d.tell(ctx, what, r.operator, r.reason)
	d.turn(workflows.Redelivering)
}

// answerWait is how long a workflow task may wait for the consumer's answer to a
// redelivery: where that comes so soon, nothing more has to be recorded.
const answerWait = 500 * time.Millisecond

// redeliver publishes r: at first within this workflow task, which is enough
// where the broker is well, and else until the broker confirms. An answer of the
// consumer ends that, too: the confirm was lost. So does an operator by force.
func (d *deadLetter) redeliver(ctx workflow.Context, r *redelivery) {
	in := activities.Redelivery{Letter: d.in.Letter, N: r.n, Operator: r.operator, Edit: r.edit}
	in.Letter.Failure = d.failure
	in.Wait = answerWait
	var out activities.Redelivered
	err := d.local(ctx, activities.Redeliver, d.redeliverSummary(r), in, &out)
	if err != nil && !workflows.IsFinal(err) && r.phase == sending {
		d.reason = "the broker has not confirmed the redelivery yet: " + workflows.RootMessage(err)
		d.show(ctx)
		in.Wait = 0
		if in.Edit != nil {
			in.Letter.Message.Body = nil // the edit has its hash
		}
		err = d.regular(ctx, activities.Redeliver, workflow.ActivityOptions{
			StartToCloseTimeout: 30 * time.Second,
			RetryPolicy:         forEver(),
			Summary:             workflows.Shorten(d.redeliverSummary(r)),
		}, in, nil, func() bool { return r.phase != sending })
	}
	r.edit = nil
	switch {
	case r.phase != sending: // answered, or given up
	case out.Handled:
		d.hearHandled(ctx, r.n)
	case err != nil:
		r.phase, r.refused = over, "cannot be redelivered: "+workflows.RootMessage(err)
		d.park(ctx, r.refused)
		if r.operator == workflows.PolicyOperator {
			d.alert(ctx, holdfast.AlertParked) // an operator sees the answer
		}
	default:
		r.phase = confirmed
		d.reason = "redelivered; the consumer has not answered yet"
		d.turns++
	}
}

// compensate runs the producer group's Compensate handler, then tells the other
// consumers.
func (d *deadLetter) compensate(ctx workflow.Context) {
	d.show(ctx)
	letter := d.in.Letter
	letter.Failure = d.failure
	in := activities.Compensation{DeadLetter: letter, Unproven: d.compensation.unproven}
	repeated := false
	err := d.regular(ctx, activities.Compensate, workflow.ActivityOptions{
		TaskQueue:              workflows.TaskQueue(d.in.Prefix, d.in.Letter.Group),
		StartToCloseTimeout:    5 * time.Minute,
		ScheduleToCloseTimeout: 24 * time.Hour,
		HeartbeatTimeout:       30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute,
			MaximumAttempts: compensateAttempts},
		Summary: workflows.Shorten(d.compensateSummary()),
	}, in, &repeated, never)
	if err != nil {
		d.endCompensation(ctx, "compensation failed: "+d.compensateError(err))
		return
	}
	d.tell(ctx, "compensated", "", compensatedLine(d.in.Letter.Group, repeated))
	d.reason = "compensated; the notice to the other consumers is not confirmed yet"
	d.show(ctx)
	err = d.regular(ctx, activities.Notify, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		RetryPolicy:         forEver(),
		Summary:             workflows.Shorten(d.notifySummary()),
	}, letter, nil, never)
	if err != nil {
		d.endCompensation(ctx, "compensated, but the notice to the other consumers cannot be published: "+
			workflows.RootMessage(err))
		return
	}
	d.tell(ctx, "notified", "", d.in.Letter.Message.Topic+holdfast.CompensatedSuffix)
	d.compensation.over = true
	d.reason = ""
	d.turn(workflows.Compensated)
}

const compensateAttempts = 10

// endCompensation parks what could not be compensated.
func (d *deadLetter) endCompensation(ctx workflow.Context, why string) {
	d.compensation.over = true
	d.park(ctx, why)
	d.alert(ctx, holdfast.AlertParked)
}

// park leaves it to an operator.
func (d *deadLetter) park(ctx workflow.Context, why string) {
	d.reason = why
	d.tell(ctx, "parked", "", why)
	d.turn(workflows.Parked)
}

// alert tells whoever should know. That it cannot be told changes nothing.
func (d *deadLetter) alert(ctx workflow.Context, kind holdfast.AlertKind) {
	l := d.in.Letter
	_ = d.local(ctx, activities.Alert, "alert: "+string(kind)+", "+d.subject(), holdfast.Alert{
		Kind: kind, At: workflow.Now(ctx), Group: l.Group, Consumer: l.Failure.Consumer, ID: l.ID,
		Topic: l.Message.Topic, Key: l.Message.Key,
		WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID, Parked: d.state == workflows.Parked,
		Class: d.failure.Class, Reason: d.reason, Remedy: d.remedy()}, nil)
}

// local runs a step once, as a local activity: nothing of its input is written
// into the history.
func (d *deadLetter) local(ctx workflow.Context, name, summary string, in, out any) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    5 * time.Second,
		ScheduleToCloseTimeout: 5 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                workflows.Shorten(summary),
	})
	return workflow.ExecuteLocalActivity(ctx, name, in).Get(ctx, out)
}

// regular runs a step as a regular activity, and takes signals meanwhile. When
// stop says so, it is asked to cancel and not waited for.
func (d *deadLetter) regular(ctx workflow.Context, name string, options workflow.ActivityOptions, in, out any,
	stop func() bool) error {
	running, cancel := workflow.WithCancel(ctx)
	defer cancel()
	f := workflow.ExecuteActivity(workflow.WithActivityOptions(running, options), name, in)
	for !f.IsReady() && !stop() {
		_ = workflow.Await(ctx, func() bool { return f.IsReady() || stop() || d.hasSignals() })
		d.takeSignals(ctx)
	}
	if !f.IsReady() {
		return nil
	}
	return f.Get(ctx, out)
}

func never() bool { return false }

func forEver() *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute}
}
