package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/telemetry"
)

// DeadLetters are the steps of the workflow DeadLetter. The methods may be called
// from many goroutines. Alerts may be nil: then nobody is told. A worker that
// registers only one of the two sets needs only that one's ports.
type DeadLetters struct {
	Redeliver     Redeliverer
	Notify        Notifier
	Compensations Compensator
	Halves        HalfTruth
	Alerts        Alerter
	// Trace makes the spans; nil: none.
	Trace *telemetry.Tracer
}

// Types of the errors that Temporal does not retry, because repetition does not
// cure them.
const (
	unroutableType = "Unroutable" // the queue is not there
	tooLargeType   = "TooLarge"   // over a limit, or kept outside its workflow
	invalidType    = "Invalid"    // not what AMQP or Holdfast can carry
	notFoundType   = "NotFound"   // no such Compensate handler
	permanentType  = "Permanent"  // the handler marked it so
)

// Register registers the steps of the task queue of dead letters.
func (a *DeadLetters) Register(w worker.ActivityRegistry) {
	w.RegisterActivityWithOptions(a.redeliver, activity.RegisterOptions{Name: Redeliver})
	w.RegisterActivityWithOptions(a.notify, activity.RegisterOptions{Name: Notify})
	registerAlert(w, a.Alerts)
}

// RegisterGroup registers the steps of a producer group's task queue. It may
// follow the Register of a [Transactions] on the same worker.
func (a *DeadLetters) RegisterGroup(w worker.ActivityRegistry) {
	w.RegisterActivityWithOptions(a.compensate, activity.RegisterOptions{Name: Compensate})
	w.RegisterActivityWithOptions(a.askHalf, activity.RegisterOptions{Name: AskHalf})
	registerAlert(w, a.Alerts)
}

// redeliver puts a dead letter back into its consumer's queue.
func (a *DeadLetters) redeliver(ctx context.Context, r Redelivery) (out Redelivered, err error) {
	if r.Letter.Kept != "" {
		return Redelivered{}, temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("message %s has %d bytes, too many for a workflow: "+
				"the whole of it is in queue %s; deliver it from there", r.Letter.ID, r.Letter.Size, r.Letter.Kept),
			tooLargeType, nil)
	}
	err = a.Trace.Letter(ctx, "redeliver", &r.Letter, func(ctx context.Context) (err error) {
		out, err = a.Redeliver.Redeliver(ctx, r)
		return err
	})
	return out, lasting(err, "NotRedelivered")
}

// notify publishes the compensation notice.
func (a *DeadLetters) notify(ctx context.Context, d holdfast.DeadLetter) error {
	return lasting(a.Trace.Letter(ctx, "notify", &d, func(ctx context.Context) error {
		return a.Notify.PublishCompensated(ctx, d)
	}), "NotNotified")
}

// compensate runs the producer group's Compensate handler, and heartbeats while
// it runs, so that the death of its process is noticed.
func (a *DeadLetters) compensate(ctx context.Context, c Compensation) (repeated bool, err error) {
	stop := heartbeat(ctx)
	defer stop()
	err = a.Trace.Letter(ctx, "compensate", &c.DeadLetter, func(ctx context.Context) (err error) {
		repeated, err = a.Compensations.Compensate(ctx, c)
		return err
	})
	return repeated, lasting(err, "NotCompensated")
}

// askHalf asks what became of the transaction of a half message.
func (a *DeadLetters) askHalf(ctx context.Context, d holdfast.DeadLetter) (LocalResult, error) {
	if a.Halves == nil {
		return LocalResult{Error: "this process cannot ask"}, nil
	}
	out := a.Halves.AskHalf(ctx, d)
	out.Messages = nil
	return out, nil
}

// registerAlert registers the step Alert. Both sets of steps have it, and may
// share a worker: the last registration counts.
func registerAlert(w worker.ActivityRegistry, to Alerter) {
	alert := func(_ context.Context, a holdfast.Alert) error {
		if to != nil {
			to.Alert(a)
		}
		return nil
	}
	w.RegisterActivityWithOptions(alert, activity.RegisterOptions{Name: Alert, DisableAlreadyRegisteredCheck: true})
}

// lasting makes an error of Temporal's: one that is retried, with the type
// given, unless repetition does not cure it.
func lasting(err error, retried string) error {
	kind := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, holdfast.ErrUnroutable):
		kind = unroutableType
	case errors.Is(err, holdfast.ErrTooLarge):
		kind = tooLargeType
	case errors.Is(err, holdfast.ErrInvalid):
		kind = invalidType
	case errors.Is(err, holdfast.ErrNotFound):
		kind = notFoundType
	case holdfast.IsPermanent(err):
		kind = permanentType
	default:
		return temporal.NewApplicationError(err.Error(), retried)
	}
	return temporal.NewNonRetryableApplicationError(err.Error(), kind, nil)
}
