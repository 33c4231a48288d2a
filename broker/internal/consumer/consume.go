// Package consumer is one delivery's life in a consumer: the gate that the circuit breaker
// keeps, the tries, what is tried again and when, messages that may have killed their
// process, and what becomes of those that are given up. Broker runs consumers through
// Consume, and is their Host.
package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Delivery is one message as it comes to a consumer.
type Delivery struct {
	// Message is the message. Its Topic is the routing key that it was published
	// with.
	Message holdfast.Message
	// TxID and Group are the transaction it belongs to and that one's producer
	// group; both are empty if a foreign publisher sent it.
	TxID, Group string
	// Published is when it was published at first, by its publisher's clock; zero if a
	// foreign one did not say.
	Published time.Time
	// Redelivered says that it was delivered before, perhaps to another process;
	// what that did with it is not known.
	Redelivered bool
	// Attempt counts the message's attempts that failed, and this one. It begins
	// anew with each redelivery by an operator.
	Attempt int
	// Redelivery is the number of the operator's redelivery, 0 for none.
	Redelivery int
	// Notice is set where the message is a compensation notice: Message is the
	// compensated one then, but for its ID and its Topic, which are the notice's.
	Notice *wire.Notice
	// Saga is set where the message is a saga's call to a participant.
	Saga *wire.SagaCall
}

// Context tells whoever handles d what it is: see [holdfast.DeliveryFrom].
func (d Delivery) Context(ctx context.Context, consumer string) context.Context {
	m := &d.Message
	known := holdfast.Delivery{Consumer: consumer, MessageID: m.ID, Topic: m.Topic, TxID: d.TxID, Group: d.Group,
		Attempt: d.Attempt, Redelivery: d.Redelivery, Redelivered: d.Redelivered, FirstPublished: d.Published,
		CorrelationID: m.CorrelationID, CausationID: m.CausationID, Type: m.Type, ContentEncoding: m.ContentEncoding,
		ReplyTo: m.ReplyTo, AppID: m.AppID, Priority: m.Priority, TTL: m.TTL}
	if d.Saga != nil {
		known.Saga, known.Step, known.Undo = d.Saga.Saga, d.Saga.Step, d.Saga.Undo
	}
	return holdfast.WithDelivery(ctx, known)
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
	// Notices are the topics whose compensation notices the queue gets, with * and #
	// as in Topics. It also gets those of TOPIC if Topics has TOPIC.compensated.
	Notices []string
	// Prefetch is how many deliveries are fetched ahead, those being handled
	// included. Default 64, or Concurrency if that is more; at most 65,535.
	Prefetch int
	// Concurrency is how many handlers run at a time. Default 16.
	Concurrency int
	// Tries is how often a message is tried at once, before the first delay of
	// Ladder. Default 3.
	Tries int
	// Ladder are the delays before each further try, in this order; after the
	// last one the message goes to the dead letters. Nil: [DefaultLadder]; empty:
	// none. At most 20 delays of 1 ms to 24 h, in whole milliseconds.
	Ladder []time.Duration
	// Policy is what is to be done with the consumer's dead letters. Zero: they
	// wait for an operator.
	Policy holdfast.Policy
	// Breaker says when the consumer pauses because everything fails.
	Breaker BreakerOptions
	// Observe, if not nil, is told of everything that happens to deliveries. It
	// is called from Concurrency goroutines, must return at once, and must not
	// panic.
	Observe func(Event)
	// HandlerTimeout ends the context of one try. Default 1 min. Keep it, times
	// Tries, well below RabbitMQ's consumer_timeout (30 min).
	HandlerTimeout time.Duration
	// DrainTimeout is how long handlers may go on undisturbed once Consume is
	// to end. Default 30 s.
	DrainTimeout time.Duration
	// Handle does the work; Consume acknowledges. nil: done. An error: try
	// again, Tries times at once and then once after each delay of Ladder; after
	// the last try, or if [holdfast.IsPermanent], it goes to the dead letters
	// with the error's text. [holdfast.RetryAfter] chooses the delay. A panic is
	// an error. Called from Concurrency goroutines; the same message may come
	// more than once. Required.
	Handle func(ctx context.Context, d Delivery) error
	// Participant says that its messages are calls of sagas: these ask whether it waits,
	// see the broker's ParticipantWait.
	Participant bool
	// NeedsID says that Handle writes the message's ID into a database, so that its
	// effect happens once: a message without an ID, or with one that is not text, is
	// malformed then, and goes to the dead letters untried.
	NeedsID bool
	// GiveUp, if not nil, is asked before a delivery goes to the dead letters,
	// because its tries are used up, its error is permanent, or it keeps killing its
	// process; about what is malformed only where it is a saga's call. true: it was
	// taken care of, and is acknowledged. false: it becomes a dead letter. An error
	// or a panic: the delivery comes again. Its context ends after HandlerTimeout.
	GiveUp func(ctx context.Context, d Delivery, f holdfast.Failure) (taken bool, err error)
}

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
	if o.Ladder == nil {
		o.Ladder = DefaultLadder()
	}
	o.Breaker = o.Breaker.WithDefaults()
	return o
}

func (o Subscription) validate() error {
	if err := wire.ValidConsumer(o.Name, slices.Concat(o.Topics, o.Notices)); err != nil {
		return err
	}
	for _, pattern := range slices.Concat(o.Topics, o.Notices) {
		if err := holdfast.ValidatePattern(pattern); err != nil {
			return fmt.Errorf("consumer %q: %w", o.Name, err)
		}
	}
	switch {
	case o.Handle == nil:
		return fmt.Errorf("%w: consumer %q: Handle is nil", holdfast.ErrInvalid, o.Name)
	case o.Concurrency < 1 || o.Concurrency > 65_535:
		return fmt.Errorf("%w: consumer %q: Concurrency is %d: want 1 to 65535", holdfast.ErrInvalid, o.Name,
			o.Concurrency)
	case o.Prefetch < o.Concurrency || o.Prefetch > 65_535:
		return fmt.Errorf("%w: consumer %q: Prefetch is %d: want at least Concurrency (%d) and at most 65535",
			holdfast.ErrInvalid, o.Name, o.Prefetch, o.Concurrency)
	case o.Tries < 1:
		return fmt.Errorf("%w: consumer %q: Tries is %d: want at least 1", holdfast.ErrInvalid, o.Name, o.Tries)
	case o.HandlerTimeout < 0 || o.DrainTimeout < 0:
		return fmt.Errorf("%w: consumer %q: HandlerTimeout and DrainTimeout must not be negative", holdfast.ErrInvalid,
			o.Name)
	}
	for _, err := range []error{ValidLadder(o.Ladder), o.Policy.Validate(), o.Breaker.Validate()} {
		if err != nil {
			return fmt.Errorf("consumer %q: %w", o.Name, err)
		}
	}
	return nil
}

// Host is the process that consumers run in, as far as they need it.
type Host struct {
	Client *link.Client
	// Limit is RabbitMQ's consumer_timeout, as far as it is known; see Options.
	Limit time.Duration
	// Declare makes a consumer's queue, its bindings and the delay queues.
	Declare func(ctx context.Context, name string, to wire.Bindings, delays []time.Duration) error
	// Show lets answers to status requests tell of a consumer until hide is called; probe
	// is called with each request.
	Show func(status func() wire.ConsumerStatus, probe func(wire.StatusRequest)) (hide func())
	// Busy, if not nil, is given a function that says how many deliveries are in work, until
	// it ends what that returns. limit is how many may be.
	Busy func(name string, limit int, busy func() int) (hide func())
	// Pauses, if not nil, says what operators have paused.
	Pauses   Pauses
	Patience Patience
}

// Pauses are the pauses by hand, as far as a consumer needs them.
type Pauses interface {
	// Await waits until it is known what is paused, as long as that is worth it.
	Await(ctx context.Context)
	// Paused is the pause that holds a consumer; nil: there is none.
	Paused(consumer string) *wire.Pause
	// Watch has changed called whenever that may be another.
	Watch(changed func()) (stop func())
	// State says whether all pauses are known here, or else why they cannot be.
	State() (knows bool, why string)
}

// noPauses is where nobody pauses anything by hand.
type noPauses struct{}

func (noPauses) Await(context.Context)           {}
func (noPauses) Paused(string) *wire.Pause       { return nil }
func (noPauses) Watch(func()) (stop func())      { return func() {} }
func (noPauses) State() (knows bool, why string) { return false, "" }

// Patience is how long a consumer waits for what. Zero means the constants; tests shorten
// it.
type Patience struct {
	Unbegun   time.Duration // maxUnbegun
	Wait      time.Duration // maxWait
	LookEvery time.Duration // LookEvery
	Gather    time.Duration // link.HandledDelay
	Long      time.Duration // LongRetry
}

func (p Patience) withDefaults() Patience {
	p.Unbegun, p.Wait = cmp.Or(p.Unbegun, maxUnbegun), cmp.Or(p.Wait, maxWait)
	p.LookEvery, p.Gather = cmp.Or(p.LookEvery, lookEvery), cmp.Or(p.Gather, link.HandledDelay)
	p.Long = cmp.Or(p.Long, LongRetry)
	return p
}

// Consume runs a consumer until ctx is done.
func Consume(ctx context.Context, h Host, o Subscription) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	queue, patience := h.Client.ConsumerQueue(o.Name), h.Patience.withDefaults()
	c := &Consumer{Host: h, patience: patience, O: o, Queue: queue, Log: h.Client.Log.With("consumer", o.Name),
		jobs: make(chan Job), stopping: ctx.Done(),
		Schedule: NewSchedule(o.Tries, o.Ladder), stuck: time.NewTimer(patience.Unbegun),
		look: make(chan struct{}, 1)}
	c.Gate = NewGate(o.Breaker, c.BreakerChanged)
	if c.Pauses == nil {
		c.Pauses = noPauses{}
	}
	c.warnOfTimeout()
	defer c.Pauses.Watch(c.heedPause)()
	defer h.Show(c.Status, c.probeNow)()
	if h.Busy != nil {
		defer h.Busy(o.Name, o.Concurrency, c.busy)()
	}
	// Handlers outlive ctx by DrainTimeout.
	handlers, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	c.Handlers = handlers
	var workers sync.WaitGroup
	for range o.Concurrency {
		workers.Go(c.work)
	}
	err := h.Client.Subs.Resubscribe(ctx, c.Log, queue, 0,
		func(ctx context.Context) error {
			err := h.Declare(ctx, o.Name, wire.Bindings{Topics: o.Topics, Notices: o.Notices}, c.Schedule.delays)
			c.Pauses.Await(ctx)
			c.heedPause()
			return err
		},
		func(ctx context.Context, s *link.Subscription) {
			c.session(ctx, s)
			if ctx.Err() != nil {
				c.drain(cancel)
			}
		})
	close(c.jobs)
	return errors.Join(err, c.finish(&workers, cancel))
}

// Job is one delivery for a worker; one without a channel is none.
type Job struct {
	D     amqp.Delivery
	Ch    *amqp.Channel
	acks  *link.Acker
	Alone bool          // it is the only one here
	done  chan struct{} // closed when the worker is through, if not nil
}

// Delivery is a copy: with a pointer into it, every job would be on the heap.
func (j Job) Delivery() *amqp.Delivery { return &j.D }

// Consumer is one consumer of this process while it runs.
type Consumer struct {
	Host
	patience Patience
	O        Subscription
	Queue    string
	Log      *slog.Logger
	jobs     chan Job
	Handlers context.Context
	stopping <-chan struct{}
	Schedule schedule
	Gate     *gate
	stuck    *time.Timer   // the session's
	look     chan struct{} // has a token if there are suspects to look for

	heeding sync.Mutex // held while a pause is looked at: it is told of in order

	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when running comes to 0, if somebody waits
}

func (c *Consumer) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

// busy is how many deliveries are in work.
func (c *Consumer) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
}

func (c *Consumer) end() {
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
func (c *Consumer) drain(cancel context.CancelCauseFunc) {
	if c.Handlers.Err() != nil {
		return // that was before
	}
	if c.rest(context.Background(), c.O.DrainTimeout) {
		return
	}
	c.Log.Warn("handlers did not finish in time; their deliveries are given back", "after", c.O.DrainTimeout)
	cancel(link.ErrDrained)
	c.rest(context.Background(), link.AbandonAfter)
}

// finish waits for the workers once there is no session any more: handlers of
// a lost subscription may still run.
func (c *Consumer) finish(workers *sync.WaitGroup, cancel context.CancelCauseFunc) error {
	c.drain(cancel)
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	if running > 0 {
		return fmt.Errorf("consumer %s: %d handlers ignore the end of their context: what they handle will be "+
			"delivered again", c.O.Name, running)
	}
	workers.Wait()
	return nil
}

func (c *Consumer) work() {
	var j Job // on the heap, once
	for j = range c.jobs {
		if j.Ch == nil {
			continue
		}
		func() {
			defer c.end()
			if j.done != nil {
				defer close(j.done)
			}
			c.handle(&j)
		}()
	}
}

func (c *Consumer) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// pause waits, but not into a shutdown.
func (c *Consumer) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.stopping:
	}
}

// Status says how the consumer is.
func (c *Consumer) Status() wire.ConsumerStatus {
	s := wire.ConsumerStatus{Name: c.O.Name, Topics: wire.Bindings{Topics: c.O.Topics, Notices: c.O.Notices}.Named(),
		Holds: c.O.holds(), Limit: c.Limit,
		Delays: c.Schedule.delays, Participant: c.O.Participant}
	var err, why error
	s.Breaker, s.Since, err = c.Gate.status()
	// A message that waits fails anew within each HandlerTimeout, and is elsewhere for a moment.
	if s.WaitsSince, why = c.Gate.waits(2*c.O.HandlerTimeout + c.patience.Wait); err == nil {
		err = why
	}
	if err != nil {
		s.Error = wire.OneLine(err.Error(), wire.MaxReason)
	}
	s.Next = c.Gate.next()
	if c.Pauses != nil {
		s.Paused = c.Pauses.Paused(c.O.Name)
		s.Pausable, s.Unpausable = c.Pauses.State()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Handling = c.running
	return s
}

// heedPause has the session fetch nothing while an operator has paused the consumer. What is
// in hand ends.
func (c *Consumer) heedPause() {
	c.heeding.Lock()
	defer c.heeding.Unlock()
	pause := c.Pauses.Paused(c.O.Name)
	if !c.Gate.hold(pause != nil) {
		return
	}
	e := Event{Kind: EventPause, Consumer: c.O.Name, Pause: pause}
	if pause == nil {
		c.Log.Info("nobody pauses the consumer any more: it goes on")
	} else {
		e.Reason = pause.Reason
		c.Log.Warn("the consumer is paused by hand: it takes no message until somebody resumes it", "by", pause.By,
			"reason", pause.Reason, "since", pause.Since, "until", pause.Until)
	}
	c.observe(e)
}

// BreakerChanged tells people.
func (c *Consumer) BreakerChanged(x Change) {
	e := Event{Kind: EventBreaker, Consumer: c.O.Name, Breaker: x.to, Reason: x.err.Error()}
	switch {
	case x.to == wire.BreakerOpen && x.from == wire.BreakerClosed:
		e.Delay = x.pause
		c.Log.Warn("everything fails: the consumer pauses, then tries one message at a time", "failures",
			c.O.Breaker.Failures, "pause", x.pause, "error", x.err)
	case x.to == wire.BreakerOpen:
		e.Delay = x.pause
		c.Log.Warn("the consumer still fails, and pauses longer", "pause", x.pause, "error", x.err)
	case x.to == wire.BreakerProbing:
		c.Log.Info("the consumer tries one message", "error", x.err)
	default:
		c.Log.Info("the consumer works again, and goes on as usual", "error", x.err)
	}
	c.observe(e)
}

func (c *Consumer) observe(e Event) {
	if c.O.Observe != nil {
		c.O.Observe(e)
	}
}
