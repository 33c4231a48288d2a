package deadletters

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// deadLetter is a run of the workflow DeadLetter. Its root coroutine carries out
// what the policy and the operators want, one thing at a time, and takes the
// signals; an Update's handler only sets what is wanted and waits for its end.
type deadLetter struct {
	in           Input
	id           string // of its workflow
	policy       holdfast.Policy
	state        workflows.State
	reason       string
	next         time.Time // when the policy redelivers; Waits only
	failure      holdfast.Failure
	redeliveries int
	duplicates   int
	story        []Event

	last         *redelivery     // the last one; nil: none in this run
	compensation compensation    // the one that runs, or the last
	question     *question       // asked before a discard; nil: none is open
	shown        workflows.State // what HoldfastState was last set to; empty: never
	turns        int             // counts the changes of state
	cancelled    bool            // the request to cancel has been seen
	renewing     bool            // it is to go on in a new run
	actions      []deadAction
	listeners    []listener
}

// DeadLetter brings a dead letter to its end (handled, compensated or discarded)
// and returns how. It fails only for an invalid input: whatever else goes wrong
// leaves it parked, for an operator.
//
// A request to cancel the workflow does not drop the message. It stops what the
// policy would do later: a letter that waits for its next redelivery is parked.
// What is under way goes on, since it cannot be taken back.
func DeadLetter(ctx workflow.Context, in Input) (Status, error) {
	if in.Letter.ID == "" || in.Letter.Queue == "" {
		err := fmt.Errorf("%w: a dead letter needs its message's ID and its queue", holdfast.ErrInvalid)
		return Status{}, temporal.NewNonRetryableApplicationError(err.Error(), workflows.InvalidInput, err)
	}
	return newDeadLetter(ctx, in).run(ctx)
}

func newDeadLetter(ctx workflow.Context, in Input) *deadLetter {
	if in.Prefix == "" {
		in.Prefix = "holdfast"
	}
	d := &deadLetter{in: in, id: workflow.GetInfo(ctx).WorkflowExecution.ID, policy: firstDeath(in.Letter).policy,
		failure: in.Letter.Failure, redeliveries: in.Letter.Failure.Redelivery}
	d.shown = workflows.ShownState(ctx)
	if in.Resumed != nil {
		d.resume(*in.Resumed)
		return d
	}
	d.tell(ctx, "died", "", failureLine(d.failure))
	d.decide(ctx, firstDeath(in.Letter))
	if err := in.Letter.Policy.Validate(); err != nil {
		d.reason += " (its policy is ignored: " + err.Error() + ")"
	}
	return d
}

func (d *deadLetter) run(parent workflow.Context) (Status, error) {
	ctx, _ := workflow.NewDisconnectedContext(parent)
	if err := d.listen(ctx); err != nil {
		return Status{}, err
	}
	if d.in.Resumed == nil {
		d.alert(ctx, holdfast.AlertDeadLetter)
	}
	d.in.Resumed = nil
	for {
		d.takeSignals(ctx)
		d.takeCancel(ctx, parent)
		switch {
		case d.state.Final():
			d.show(ctx)
			err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
			return d.status(), err
		case d.sending():
			d.redeliver(ctx, d.last)
		case d.question != nil:
			d.answerQuestion(ctx)
		case d.state == workflows.Compensating:
			d.compensate(ctx)
		case d.renewing && workflow.AllHandlersFinished(ctx):
			return Status{}, workflow.NewContinueAsNewError(ctx, Name, d.renewed())
		default:
			d.rest(ctx, parent)
		}
	}
}

// rest waits until something is to be done: an operator, the consumer's queue or
// the policy's time.
func (d *deadLetter) rest(ctx, parent workflow.Context) {
	d.show(ctx)
	turn := d.turns
	due, stop := d.timer(ctx)
	defer stop()
	for d.turns == turn {
		_ = workflow.Await(ctx, func() bool {
			return d.turns != turn || d.hasSignals() || d.cancelComes(parent) || due() ||
				d.tooLong(ctx) && workflow.AllHandlersFinished(ctx)
		})
		if d.turns == turn && due() {
			d.begin(ctx, UpdateRedeliver, &redelivery{operator: workflows.PolicyOperator,
				reason: "after the delay of its policy"})
			return
		}
		d.takeSignals(ctx)
		d.takeCancel(ctx, parent)
		if d.renewing {
			return
		}
	}
}

// timer returns whether the policy's time has come, and what stops waiting for
// it.
func (d *deadLetter) timer(ctx workflow.Context) (due func() bool, stop func()) {
	if d.state != workflows.Waits {
		return func() bool { return false }, func() {}
	}
	ctx, cancel := workflow.WithCancel(ctx)
	t := workflow.NewTimerWithOptions(ctx, max(0, d.next.Sub(workflow.Now(ctx))),
		workflow.TimerOptions{Summary: workflows.Shorten(d.timerSummary())})
	return t.IsReady, cancel
}

// decide does what the policy wants after a death.
func (d *deadLetter) decide(ctx workflow.Context, x death) {
	v := x.next()
	d.reason = failureLine(d.failure)
	if v.why != "" {
		d.reason = v.why + "; " + d.reason
	}
	d.turn(v.state)
	switch v.state {
	case workflows.Waits:
		d.next = workflow.Now(ctx).Add(v.wait)
	case workflows.Compensating:
		d.compensation = compensation{n: d.compensation.n + 1, operator: workflows.PolicyOperator, reason: d.failure.Reason}
		d.tell(ctx, workflows.UpdateCompensate, workflows.PolicyOperator, "")
	}
}

// turn changes the state, and wakes whoever rests.
func (d *deadLetter) turn(s workflows.State) {
	d.state, d.next = s, time.Time{}
	d.turns++
}

// cancelComes reports whether there is a request to cancel that was not seen.
func (d *deadLetter) cancelComes(parent workflow.Context) bool {
	return !d.cancelled && parent.Err() != nil
}

func (d *deadLetter) takeCancel(ctx, parent workflow.Context) {
	if !d.cancelComes(parent) {
		return
	}
	d.cancelled = true
	d.tell(ctx, "cancel", workflows.CancelOperator, "asked to cancel: a dead letter is not dropped; to drop it, use "+
		UpdateDiscard)
	if d.state == workflows.Waits {
		d.reason = "the workflow was asked to cancel, so the policy's redeliveries are over; " + failureLine(d.failure)
		d.turn(workflows.Parked)
	}
}

// tell adds an event to the story.
func (d *deadLetter) tell(ctx workflow.Context, what, operator, text string) {
	d.story = workflows.AddTo(d.story, Event{At: workflow.Now(ctx), What: what,
		Operator: workflows.Clip(operator, 200), Text: workflows.Clip(text, 1000)})
}

func (d *deadLetter) status() Status {
	l := d.in.Letter
	s := Status{ID: l.ID, Consumer: l.Failure.Consumer, Queue: l.Queue, Topic: l.Message.Topic, Key: l.Message.Key,
		Tx: l.TxID, Group: l.Group, State: d.state, Reason: d.reason, Next: d.next, Failure: d.failure,
		Redeliveries: d.redeliveries, Duplicates: d.duplicates, Story: slices.Clone(d.story)}
	for _, a := range d.actions {
		if a.allowed(false) == nil {
			s.Actions = append(s.Actions, a.name)
		}
	}
	return s
}

// tooLong reports whether the rest should happen in a new run. Bodies make a
// history large: Temporal's own limit is 50 MiB, and it suggests to renew at 4.
func (d *deadLetter) tooLong(ctx workflow.Context) bool {
	if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		d.renewing = true
	}
	return d.renewing
}

// renewed is the input of the next run.
func (d *deadLetter) renewed() Input {
	in, s := d.in, d.status()
	s.Actions = nil
	in.Resumed = &s
	return in
}

// resume takes over what the run before knew.
func (d *deadLetter) resume(s Status) {
	d.state, d.reason, d.next, d.failure = s.State, s.Reason, s.Next, s.Failure
	d.redeliveries, d.duplicates, d.story = s.Redeliveries, s.Duplicates, s.Story
	if s.State == workflows.Redelivering {
		d.last = &redelivery{n: s.Redeliveries, phase: confirmed}
	}
}
