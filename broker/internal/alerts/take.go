package alerts

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
)

// Taker takes the alerts of a Hook.
type Taker struct {
	Hook topology.Hook
	// Handle must not block for long; after an error the alert comes again, perhaps to
	// another process.
	Handle func(holdfast.Alert) error
	// Denied, if not nil, is told why the Hook's alerts cannot be taken, and nil once they
	// can. It must return at once.
	Denied func(error)
	// Ignored, if not nil, is told why something in a queue of alerts was none, or did
	// not count. It must return at once.
	Ignored func(why string)
}

// prefetch is how many alerts of a queue are held.
const prefetch = 5

// deniedAgain is how often it is tried again to take alerts that this user may not take:
// somebody may have allowed it.
const deniedAgain = 5 * time.Minute

// Take takes the alerts of a Hook, and those that nobody took, until ctx is done.
// Zero for again means deniedAgain.
func Take(ctx context.Context, c *link.Client, topo *topology.Maker, t Taker,
	again time.Duration) error {
	if err := t.Hook.Check(); err != nil {
		return err
	}
	if t.Denied == nil {
		t.Denied = func(error) {}
	}
	if t.Ignored == nil {
		t.Ignored = func(string) {}
	}
	r := &reader{c: c, topo: topo, again: cmp.Or(again, deniedAgain)}
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() {
		errs[0] = r.read(ctx, t, func(ctx context.Context) (string, error) { return r.queueFor(ctx, t.Hook) })
	})
	common := t
	common.Denied = func(err error) {
		if err != nil {
			c.Log.Info("this user may not read the queue of the alerts that nobody took: others take them", "queue",
				c.AlertQueue(), "error", err)
		}
	}
	both.Go(func() {
		errs[1] = r.read(ctx, common, func(ctx context.Context) (string, error) {
			return c.AlertQueue(), topo.Declare(ctx, topo.AlertSteps())
		})
	})
	both.Wait()
	return errors.Join(errs[:]...)
}

// reader reads queues of alerts.
type reader struct {
	c     *link.Client
	topo  *topology.Maker
	again time.Duration // after which what was denied is tried again
}

// queueFor is the queue out of which a Hook's alerts are taken: the one that an
// administrator made, else one that is made here.
func (r *reader) queueFor(ctx context.Context, h topology.Hook) (string, error) {
	conn, err := r.c.Consuming.Get(ctx)
	if err != nil {
		return "", err
	}
	made := r.c.HookQueue(h.Name)
	gone, err := r.topo.Missing(ctx, conn, []string{made})
	if err != nil || len(gone) == 0 {
		return made, err
	}
	own := r.topo.OwnAlertQueue(h)
	return own, r.topo.Declare(ctx, r.topo.AlertSteps(), r.topo.OwnAlertSteps(own, h.Keys))
}

// errOtherQueue means that alerts are to be taken out of another queue from now on.
var errOtherQueue = link.Final("another queue of alerts")

// read takes what comes into the queue that find finds.
func (r *reader) read(ctx context.Context, t Taker, find func(context.Context) (string, error)) error {
	pause, told := link.NewBackoff(), ""
	for ctx.Err() == nil {
		queue, err := find(ctx)
		if err == nil {
			err = r.c.Subs.MayRead(ctx, queue)
		}
		wait := time.Duration(0)
		switch err = denied(err); {
		case err == nil:
			t.Denied(nil)
			told = ""
			err = r.readFrom(ctx, t, queue, find)
			if !errors.Is(err, ErrDenied) && !errors.Is(err, errOtherQueue) {
				return err
			}
		case errors.Is(err, ErrDenied):
			if told != err.Error() {
				told = err.Error()
				t.Denied(err)
			}
			wait = r.again
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

// readFrom takes the alerts of one queue, until that is not the right one any more.
func (r *reader) readFrom(ctx context.Context, t Taker, queue string,
	find func(context.Context) (string, error)) error {
	p := link.NewPool(ctx, r.c.Log, "alerts")
	defer p.Cancel(nil)
	err := r.c.Subs.Resubscribe(ctx, r.c.Log, queue, prefetch, func(ctx context.Context) error {
		now, err := find(ctx)
		if err == nil && now != queue {
			err = errOtherQueue
		}
		return denied(err)
	}, func(ctx context.Context, s *link.Subscription) {
		p.Session(ctx, s, func(gone context.Context, d *amqp.Delivery) { r.alert(gone, d, t) })
	})
	return errors.Join(err, p.Drain())
}

// alert deals with one delivery. What is no alert, or does not count, is dropped.
func (r *reader) alert(gone context.Context, d *amqp.Delivery, t Taker) {
	a, err := r.c.Trust().DecodeAlert(d)
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
