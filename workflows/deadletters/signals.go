package deadletters

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// listener is a signal and what takes the next one of it; take reports whether
// there was one.
type listener struct {
	channel workflow.ReceiveChannel
	take    func(workflow.Context) bool
}

// listen sets the handlers: the query, the Updates, and the signals, which the
// root coroutine takes itself: thousands of these workflows wait in one process,
// and a goroutine for each signal of each would be most of what they need.
func (d *deadLetter) listen(ctx workflow.Context) error {
	d.actions = d.deadActions()
	err := workflow.SetQueryHandlerWithOptions(ctx, workflows.QueryStatus,
		func() (Status, error) { return d.status(), nil },
		workflow.QueryHandlerOptions{Description: "Where this dead letter stands, what happened, and what an operator can " +
			"do."})
	if err != nil {
		return err
	}
	// Deaths come before what was handled: together they say that it was.
	died := workflow.GetSignalChannelWithOptions(ctx, SignalDied, workflow.SignalChannelOptions{
		Description: "The message died again. Not for operators: the intake of dead letters sends it."})
	d.listeners = append(d.listeners, listener{died, func(ctx workflow.Context) bool {
		var f holdfast.Failure
		ok := died.ReceiveAsync(&f)
		if ok {
			d.hearDied(ctx, f)
		}
		return ok
	}})
	handled := workflow.GetSignalChannelWithOptions(ctx, SignalHandled, workflow.SignalChannelOptions{
		Description: "The consumer handled a redelivery. Not for operators: the intake of dead letters sends it."})
	d.listeners = append(d.listeners, listener{handled, func(ctx workflow.Context) bool {
		var n int
		ok := handled.ReceiveAsync(&n)
		if ok {
			d.hearHandled(ctx, n)
		}
		return ok
	}})
	for _, a := range d.actions {
		if err := d.listenTo(ctx, a); err != nil {
			return err
		}
		channel := workflow.GetSignalChannelWithOptions(ctx, a.name,
			workflow.SignalChannelOptions{Description: a.description})
		d.listeners = append(d.listeners, listener{channel, func(ctx workflow.Context) bool {
			var req Request
			ok := channel.ReceiveAsync(&req)
			if ok {
				d.hear(ctx, a, req)
			}
			return ok
		}})
	}
	return nil
}

func (d *deadLetter) hasSignals() bool {
	for _, l := range d.listeners {
		if l.channel.Len() > 0 {
			return true
		}
	}
	return false
}

// takeSignals takes all signals that are here.
func (d *deadLetter) takeSignals(ctx workflow.Context) {
	for d.hasSignals() {
		for _, l := range d.listeners {
			for l.take(ctx) {
			}
		}
	}
}

// hear takes an operator's signal. A refused one leaves a line.
func (d *deadLetter) hear(ctx workflow.Context, a deadAction, req Request) {
	err := workflows.RefuseReservedSignal(ctx, req.Operator)
	if err == nil {
		err = d.refuse(a, req)
	}
	if err != nil {
		d.tell(ctx, "refused", req.Operator, a.name+": "+err.Error())
		workflow.GetLogger(ctx).Warn("signal refused", "signal", a.name, "operator", req.Operator, "error", err)
		return
	}
	a.begin(ctx, req)
}

func (d *deadLetter) place() place {
	return place{state: d.state, current: d.redeliveries, open: d.last != nil && !d.last.answered && d.last.refused == ""}
}

// answer notes that the consumer has answered redelivery n, and maybe a number
// whose record was lost.
func (d *deadLetter) answer(n int) {
	if d.last != nil && n >= d.redeliveries {
		d.last.answered, d.last.phase = true, over
	}
	d.redeliveries = max(d.redeliveries, n)
}

// hearHandled takes the news that redelivery n was handled.
func (d *deadLetter) hearHandled(ctx workflow.Context, n int) {
	means := d.place().handled(n)
	if means == duplicate {
		d.duplicates++
		return
	}
	d.answer(n)
	line := fmt.Sprintf("redelivery %d", n)
	if means == noted {
		d.tell(ctx, "handled", "", line+", while it was being compensated: the notice undoes it where the consumer has an "+
			"Undo")
		return
	}
	d.giveUpRedelivery()
	d.tell(ctx, "handled", "", line)
	d.reason = ""
	d.turn(workflows.Handled)
}

// hearDied takes the news that the message died again.
func (d *deadLetter) hearDied(ctx workflow.Context, f holdfast.Failure) {
	means := d.place().died(f.Redelivery)
	if means == duplicate {
		d.duplicates++
		return
	}
	d.answer(f.Redelivery)
	d.failure = f
	d.tell(ctx, "died", "", failureLine(f))
	d.remember(ctx)
	if means == noted {
		return
	}
	d.giveUpRedelivery()
	x := firstDeath(d.in.Letter)
	x.class, x.redeliveries = f.Class, d.redeliveries
	d.decide(ctx, x)
	if d.state == workflows.Parked {
		d.alert(ctx, holdfast.AlertParked)
	}
}
