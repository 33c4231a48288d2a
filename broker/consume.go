package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// Delivery is one message as it comes to a consumer.
type Delivery struct {
	// Message is the message. Its Topic is the header holdfast-topic, or the
	// routing key if a foreign publisher sent it.
	Message holdfast.Message
	// TxID and Group are the transaction it belongs to and that one's producer
	// group; both are empty if a foreign publisher sent it.
	TxID, Group string
	// Redelivered says that RabbitMQ has delivered it before, perhaps to
	// another process; what that did with it is not known.
	Redelivered bool
	// Attempt counts the tries of this delivery, from 1.
	Attempt int
}

// Subscription says what a consumer gets and how its handler is run. The zero
// value of every field but Name, Topics and Handle means its default.
type Subscription struct {
	// Name names the consumer and its queue: the processes with the same name
	// share its messages. Required.
	Name string
	// Topics are what the queue is bound to; * stands for one word, # for any
	// number of words. Required.
	Topics []string
	// Prefetch is how many deliveries are fetched ahead, those being handled
	// included. Default 64, or Concurrency if that is more; at most 65,535.
	Prefetch int
	// Concurrency is how many handlers run at a time. Default 16.
	Concurrency int
	// Tries is how often a delivery is tried, at once, before it goes to the
	// dead letters. Default 3.
	Tries int
	// HandlerTimeout ends the context of one try. Default 1 min. Keep it, times
	// Tries, well below RabbitMQ's consumer_timeout (30 min).
	HandlerTimeout time.Duration
	// DrainTimeout is how long handlers may go on undisturbed once Consume is
	// to end. Default 30 s.
	DrainTimeout time.Duration
	// Handle does the work; Consume acknowledges. nil: done. An error: try
	// again, and after the last try, or if [holdfast.IsPermanent], it goes to
	// the dead letters with the error's text. A panic is an error. Called from
	// Concurrency goroutines; the same message may come more than once.
	// Required.
	Handle func(ctx context.Context, d Delivery) error
}

// abandonAfter is how long a handler may ignore the end of its context before
// Consume returns without it.
const abandonAfter = 10 * time.Second

func (o Subscription) withDefaults() Subscription {
	def := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	def(&o.Concurrency, 16)
	def(&o.Prefetch, max(64, o.Concurrency))
	def(&o.Tries, 3)
	if o.HandlerTimeout == 0 {
		o.HandlerTimeout = time.Minute
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 30 * time.Second
	}
	return o
}

func (o Subscription) validate() error {
	if err := validConsumer(o.Name, o.Topics); err != nil {
		return err
	}
	switch {
	case o.Handle == nil:
		return fmt.Errorf("%w: consumer %q: Handle is nil", holdfast.ErrInvalid, o.Name)
	case o.Concurrency < 1 || o.Concurrency > 65_535:
		return fmt.Errorf("%w: consumer %q: Concurrency is %d: want 1 to 65535", holdfast.ErrInvalid, o.Name, o.Concurrency)
	case o.Prefetch < o.Concurrency || o.Prefetch > 65_535:
		return fmt.Errorf("%w: consumer %q: Prefetch is %d: want at least Concurrency (%d) and at most 65535", holdfast.ErrInvalid, o.Name, o.Prefetch, o.Concurrency)
	case o.Tries < 1:
		return fmt.Errorf("%w: consumer %q: Tries is %d: want at least 1", holdfast.ErrInvalid, o.Name, o.Tries)
	case o.HandlerTimeout < 0 || o.DrainTimeout < 0:
		return fmt.Errorf("%w: consumer %q: HandlerTimeout and DrainTimeout must not be negative", holdfast.ErrInvalid, o.Name)
	}
	return nil
}

// Consume declares a consumer's queue and runs its handler until ctx is done;
// then it takes no further delivery, gives back those that were not begun, lets
// the running handlers finish for DrainTimeout, ends their contexts, gives back
// what they could not finish, and returns nil. It goes on by itself after lost
// connections. An error means wrong options, a queue that exists with other
// arguments, a closed Broker, or a handler that ignores its context.
func (b *Broker) Consume(ctx context.Context, o Subscription) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	queue := b.ConsumerQueue(o.Name)
	c := &consumer{b: b, o: o, queue: queue, log: b.log.With("consumer", o.Name), jobs: make(chan job), stopping: ctx.Done()}
	// Handlers outlive ctx by DrainTimeout.
	handlers, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	c.handlers = handlers
	var workers sync.WaitGroup
	for range o.Concurrency {
		workers.Go(c.work)
	}
	err := b.resubscribe(ctx, c.log, queue, o.Prefetch,
		func(ctx context.Context) error { return b.DeclareConsumer(ctx, o.Name, o.Topics) },
		func(ctx context.Context, s *subscription) {
			c.session(ctx, s)
			if ctx.Err() != nil {
				c.drain(cancel)
			}
		})
	close(c.jobs)
	return errors.Join(err, c.finish(&workers, cancel))
}

// errDrained is why a handler's context ends when DrainTimeout has passed.
var errDrained = errors.New("holdfast: the consumer is shutting down")

type job struct {
	d  amqp.Delivery
	ch *amqp.Channel
}

type consumer struct {
	b        *Broker
	o        Subscription
	queue    string
	log      *slog.Logger
	jobs     chan job
	handlers context.Context
	stopping <-chan struct{}

	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when running comes to 0, if somebody waits
}

// session passes deliveries to the workers until the subscription is lost or
// ctx is done.
func (c *consumer) session(ctx context.Context, s *subscription) {
	for {
		select {
		case d, ok := <-s.deliveries:
			if !ok {
				return
			}
			c.begin()
			select {
			case c.jobs <- job{d, s.ch}:
			case <-ctx.Done():
				_ = d.Nack(false, true)
				c.end()
			}
		case <-ctx.Done():
			// After the answer nothing more comes, and deliveries is closed.
			if s.ch.Cancel(consumerTag, false) == nil {
				for d := range s.deliveries {
					_ = d.Nack(false, true)
				}
			}
			return
		}
	}
}

func (c *consumer) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

func (c *consumer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// drain waits for the running handlers: undisturbed for DrainTimeout, then a
// little longer with their contexts ended. What they finish can still be
// acknowledged if their channel is open.
func (c *consumer) drain(cancel context.CancelCauseFunc) {
	if c.handlers.Err() != nil {
		return // that was before
	}
	c.mu.Lock()
	if c.running == 0 {
		c.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	c.idle = idle
	c.mu.Unlock()
	t := time.NewTimer(c.o.DrainTimeout)
	defer t.Stop()
	select {
	case <-idle:
		return
	case <-t.C:
	}
	c.log.Warn("handlers did not finish in time; their deliveries are given back", "after", c.o.DrainTimeout)
	cancel(errDrained)
	t.Reset(abandonAfter)
	select {
	case <-idle:
	case <-t.C:
	}
}

// finish waits for the workers once there is no session any more: handlers of
// a lost subscription may still run.
func (c *consumer) finish(workers *sync.WaitGroup, cancel context.CancelCauseFunc) error {
	c.drain(cancel)
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	if running > 0 {
		return fmt.Errorf("consumer %s: %d handlers ignore the end of their context: what they handle will be delivered again", c.o.Name, running)
	}
	workers.Wait()
	return nil
}

func (c *consumer) work() {
	for j := range c.jobs {
		func() {
			defer c.end()
			c.handle(&j)
		}()
	}
}

// handle tries one delivery and acknowledges it, or not.
func (c *consumer) handle(j *job) {
	if j.ch.IsClosed() {
		return // lost meanwhile: it comes again
	}
	m, tx, group, err := decodeMessage(&j.d)
	if err != nil {
		c.bury(j, 1, err)
		return
	}
	d := Delivery{Message: m, TxID: tx, Group: group, Redelivered: j.d.Redelivered}
	away := newBackoff()
	for d.Attempt = 1; !j.ch.IsClosed(); d.Attempt++ { // if lost meanwhile, it comes again
		fault.Point(fault.ConsumeBefore)
		err := c.try(d)
		switch {
		case err == nil:
			c.settle(j.d.Ack(false))
			return
		case c.handlers.Err() != nil:
			// Interrupted by the shutdown, not failed.
			c.settle(j.d.Nack(false, true))
			return
		case holdfast.IsPermanent(err) || d.Attempt >= c.o.Tries && !waits(err):
			c.bury(j, d.Attempt, err)
			return
		case c.isStopping():
			c.settle(j.d.Nack(false, true))
			return
		case waits(err):
			// Not the message's fault: it waits here, and the try does not count.
			c.log.Warn("a message waits for its handler's database", "message", m.ID, "error", err)
			c.pause(away.NextBackOff())
			d.Attempt--
			continue
		}
		c.log.Debug("handler failed, trying again", "message", m.ID, "attempt", d.Attempt, "error", err)
	}
}

// waitError is an error that is not the message's fault.
type waitError struct{ error }

func (e waitError) Unwrap() error { return e.error }

// Wait marks what a handler returns as no fault of the message, such as a
// database that cannot be reached: the message waits in this process and is tried
// again with growing pauses of up to 4 s, and nothing is counted. Wait(nil) is
// nil.
func Wait(err error) error {
	if err == nil {
		return nil
	}
	return waitError{err}
}

func waits(err error) bool {
	var w waitError
	return errors.As(err, &w)
}

func (c *consumer) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

func (c *consumer) try(d Delivery) error {
	ctx, cancel := context.WithTimeout(c.handlers, c.o.HandlerTimeout)
	defer cancel()
	d.Message = d.Message.Clone() // what one try changes, the next must not see
	return protect(func() error { return c.o.Handle(ctx, d) })
}

// settle notes an acknowledgement that could not be sent: the channel is lost,
// and the delivery comes again.
func (c *consumer) settle(err error) {
	if err != nil {
		c.log.Debug("acknowledgement lost with its channel: the message will be delivered again", "error", err)
	}
}

// bury sends a delivery to the dead letters, and acknowledges it only once that
// is confirmed.
func (c *consumer) bury(j *job, attempts int, cause error) {
	c.log.Warn("a message goes to the dead letters", "message", j.d.MessageId, "topic", j.d.RoutingKey, "attempts", attempts, "error", cause)
	err := c.b.publishDead(c.handlers, deadLetter(&j.d, c.queue, c.o.Name, attempts, cause, time.Now()))
	if err != nil {
		c.log.Error("a dead letter could not be stored; the message will be delivered again", "message", j.d.MessageId, "error", err)
		c.pause(time.Second)
		c.settle(j.d.Nack(false, true))
		return
	}
	fault.Point(fault.DeadBeforeAck)
	c.settle(j.d.Ack(false))
}

// pause waits, but not into a shutdown.
func (c *consumer) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.stopping:
	}
}
