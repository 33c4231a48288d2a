package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
)

// AlertTaker takes the alerts of a [Hook].
type AlertTaker struct {
	Hook Hook
	// Handle must not block for long; after an error the alert comes again, perhaps to
	// another process.
	Handle func(holdfast.Alert) error
	// Denied, if not nil, is told why the Hook's alerts cannot be taken, and nil once they
	// can. It must return at once.
	Denied func(error)
	// Ignored, if not nil, is told why something in a queue of alerts was none, or did
	// not count. It must return at once.
	Ignored func(why string)

	again time.Duration // after which what was denied is tried again
}

// deniedAgain is how often it is tried again to take alerts that this user may not take:
// somebody may have allowed it.
const deniedAgain = 5 * time.Minute

// ConsumeAlerts takes the alerts of a Hook, and those that nobody took, until ctx is
// done. What its user may not have, it goes without.
func (b *Broker) ConsumeAlerts(ctx context.Context, t AlertTaker) error {
	if err := t.Hook.Check(); err != nil {
		return err
	}
	if t.Denied == nil {
		t.Denied = func(error) {}
	}
	if t.Ignored == nil {
		t.Ignored = func(string) {}
	}
	if t.again == 0 {
		t.again = deniedAgain
	}
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() {
		errs[0] = b.takeAlerts(ctx, t, func(ctx context.Context) (string, error) { return b.hookQueueFor(ctx, t.Hook) })
	})
	common := t
	common.Denied = func(err error) {
		if err != nil {
			b.c.Log.Info("this user may not read the queue of the alerts that nobody took: others take them", "queue",
				b.AlertQueue(), "error", err)
		}
	}
	both.Go(func() {
		errs[1] = b.takeAlerts(ctx, common, func(ctx context.Context) (string, error) {
			return b.AlertQueue(), b.topo.Declare(ctx, b.topo.AlertSteps())
		})
	})
	both.Wait()
	return errors.Join(errs[:]...)
}

// hookQueueFor is the queue out of which a Hook's alerts are taken: the one that an
// administrator made, else one that is made here.
func (b *Broker) hookQueueFor(ctx context.Context, h Hook) (string, error) {
	conn, err := b.c.Consuming.Get(ctx)
	if err != nil {
		return "", err
	}
	made := b.HookQueue(h.Name)
	gone, err := b.topo.Missing(ctx, conn, []string{made})
	if err != nil || len(gone) == 0 {
		return made, err
	}
	own := b.topo.OwnAlertQueue(h)
	return own, b.topo.Declare(ctx, b.topo.AlertSteps(), b.topo.OwnAlertSteps(own, h.Keys))
}

// errOtherQueue means that alerts are to be taken out of another queue from now on.
var errOtherQueue = link.Final("another queue of alerts")

// takeAlerts takes what comes into the queue that find finds.
func (b *Broker) takeAlerts(ctx context.Context, t AlertTaker, find func(context.Context) (string, error)) error {
	pause, denied := link.NewBackoff(), ""
	for ctx.Err() == nil {
		queue, err := find(ctx)
		if err == nil {
			err = b.c.Subs.MayRead(ctx, queue)
		}
		wait := time.Duration(0)
		switch err = deniedAlerts(err); {
		case err == nil:
			t.Denied(nil)
			denied = ""
			err = b.takeAlertsFrom(ctx, t, queue, find)
			if !errors.Is(err, ErrAlertsDenied) && !errors.Is(err, errOtherQueue) {
				return err
			}
		case errors.Is(err, ErrAlertsDenied):
			if denied != err.Error() {
				denied = err.Error()
				t.Denied(err)
			}
			wait = t.again
		case errors.Is(err, link.ErrClosed) || errors.Is(err, holdfast.ErrInvalid):
			return err
		default:
			wait = pause.NextBackOff()
		}
		if wait > 0 && !link.Sleep(ctx, wait) {
			break
		}
	}
	return nil
}

// takeAlertsFrom takes the alerts of one queue, until that is not the right one any more.
func (b *Broker) takeAlertsFrom(ctx context.Context, t AlertTaker, queue string,
	find func(context.Context) (string, error)) error {
	p := link.NewPool(ctx, b.c.Log, "alerts")
	defer p.Cancel(nil)
	err := b.c.Subs.Resubscribe(ctx, b.c.Log, queue, alertPrefetch, func(ctx context.Context) error {
		now, err := find(ctx)
		if err == nil && now != queue {
			err = errOtherQueue
		}
		return deniedAlerts(err)
	}, func(ctx context.Context, s *link.Subscription) {
		p.Session(ctx, s, func(gone context.Context, d *amqp.Delivery) { b.takeAlert(gone, d, t) })
	})
	return errors.Join(err, p.Drain())
}

// takeAlert deals with one delivery. What is no alert, or does not count, is dropped.
func (b *Broker) takeAlert(gone context.Context, d *amqp.Delivery, t AlertTaker) {
	a, err := b.c.Trust().DecodeAlert(d)
	if err != nil {
		t.Ignored(err.Error())
		_ = d.Ack(false)
		return
	}
	if err := link.Protect(func() error { return t.Handle(a) }); err == nil {
		_ = d.Ack(false)
		return
	}
	link.Sleep(gone, time.Second)
	_ = d.Nack(false, true)
}
