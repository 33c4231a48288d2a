package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/consuming"
	"github.com/holdfastmq/holdfast/internal/databases"
	"github.com/holdfastmq/holdfast/internal/telemetry"
)

// Handle is a consumer's work on one message: it writes with tx, which is
// committed together with the inbox row when it returns nil, so that its effect
// happens once however often the message is delivered.
type Handle func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error

// Middleware puts something around handlers: it returns a function that does its part and
// calls next, or not. It is called once for each function that it is put around, when Run
// begins; what it returns, for each attempt, inside the database transaction, so that it
// may write with tx, and what it returns as an error rolls back. It sees the handler's
// error, but not that of COMMIT. tx is nil around HandleAtLeastOnce.
//
// A repeated delivery, whose effect is committed, reaches no middleware. The context has
// the delivery, see [holdfast.DeliveryFrom]; what next gets has to be derived from it.
// Without a call of next, nil means that the message is handled; [holdfast.Permanent]
// makes it a dead letter. A panic is the handler's. next runs at most once in an attempt; a
// participant's middleware returns nil only after next did. See docs/middleware.md.
type Middleware func(next Handle) Handle

// Consumer is a named subscription: one queue, any number of processes. Exactly
// one of Handle and HandleAtLeastOnce is set.
type Consumer struct {
	// Name names the subscription and its queue. Required.
	Name string
	// Topics are the topics to receive, with AMQP's wildcards * (one word) and #
	// (any number). Required.
	Topics []string
	// Handle does the work in a database transaction.
	Handle Handle
	// HandleAtLeastOnce does the work without a database: its effect happens once
	// for each delivery, and deliveries may repeat.
	HandleAtLeastOnce func(ctx context.Context, m holdfast.Message) error
	// DB is the consumer's database; nil means the worker's.
	DB *gorm.DB
	// Concurrency is how many messages are handled at once. Default: 16. Where the
	// pool of DB has fewer connections (SetMaxOpenConns), one is kept from handlers,
	// for what they send: so many fewer are handled at once, and the log says so.
	Concurrency int
	// Prefetch is how many messages the broker hands out in advance. Default:
	// 64, and at least Concurrency.
	Prefetch int
	// Tries is how often a message is tried at once, before its retries begin.
	// While the database cannot be reached to begin or to commit, the message
	// waits, and nothing is counted. Default: 3.
	Tries int
	// Ladder are the delays of the further tries, one for each; after the last one
	// the message is a dead letter. Nil: 10 s, 30 s, 1 m, 5 m, 15 m, 1 h; empty:
	// none.
	Ladder []time.Duration
	// DeadLetters is what happens to the messages that it gives up. The zero
	// value: each waits for an operator.
	DeadLetters holdfast.Policy
	// Breaker is when it pauses because nothing succeeds any more. The zero
	// value: after 10 messages in a row that failed.
	Breaker BreakerOptions
	// Undo undoes what Handle did, when another consumer of the same message
	// failed and the producer has compensated it. It runs where this consumer has
	// handled the message; where it has not, it never will. Needs Handle.
	Undo Compensation
	// Middleware is put around Handle, HandleAtLeastOnce and Undo, inside that of the
	// worker (Options.Middleware and [Worker.Use]); the first is the outermost.
	Middleware []Middleware
	// Timeout bounds one try. Default: 1 m. Times Tries, it has to be less than
	// RabbitMQ's consumer_timeout; see Options.Timeouts.Consumer.
	Timeout time.Duration
}

// Consume adds a consumer. Call it before Run, which returns what is wrong with
// it.
func (w *Worker) Consume(c Consumer) {
	if err := c.validate(); err != nil {
		w.problem(err)
		return
	}
	if w.observer.Has(c.Name) {
		w.problem(fmt.Errorf("%w: two consumers or participants are named %q: they would share a queue",
			holdfast.ErrInvalid, c.Name))
		return
	}
	if c.DB == nil {
		c.DB = w.o.DB
	}
	if c.Handle != nil && c.DB == nil {
		w.problem(fmt.Errorf("%w: consumer %s: Handle needs a DB; without one use HandleAtLeastOnce",
			holdfast.ErrInvalid, c.Name))
		return
	}
	if c.Handle != nil {
		w.databases.Use(databases.Use{Kind: "consumer", Name: c.Name, DB: c.DB, Concurrency: c.Concurrency})
	}
	w.consumers = append(w.consumers, c)
	w.observer.Add(c.Name)
}

func (c Consumer) validate() error {
	if err := holdfast.ValidateName("consumer's name", c.Name); err != nil {
		return err
	}
	if len(c.Topics) == 0 {
		return fmt.Errorf("%w: consumer %s has no topics", holdfast.ErrInvalid, c.Name)
	}
	for _, topic := range c.Topics {
		if err := holdfast.ValidatePattern(topic); err != nil {
			return fmt.Errorf("consumer %s: %w", c.Name, err)
		}
	}
	if (c.Handle == nil) == (c.HandleAtLeastOnce == nil) {
		return fmt.Errorf("%w: consumer %s: set one of Handle and HandleAtLeastOnce", holdfast.ErrInvalid, c.Name)
	}
	if c.Prefetch > 0 && c.Prefetch < c.Concurrency {
		return fmt.Errorf("%w: consumer %s: Prefetch is %d, want at least Concurrency, which is %d",
			holdfast.ErrInvalid, c.Name, c.Prefetch, c.Concurrency)
	}
	if c.Undo != nil && c.Handle == nil {
		return fmt.Errorf("%w: consumer %s: Undo needs Handle, whose inbox row says whether there is something to undo",
			holdfast.ErrInvalid, c.Name)
	}
	if err := c.DeadLetters.Validate(); err != nil {
		return fmt.Errorf("consumer %s: %w", c.Name, err)
	}
	if slices.ContainsFunc(c.Middleware, isNil) {
		return fmt.Errorf("%w: consumer %s: a nil Middleware", holdfast.ErrInvalid, c.Name)
	}
	if c.Concurrency < 0 || c.Prefetch < 0 || c.Tries < 0 || c.Timeout < 0 {
		return fmt.Errorf("%w: consumer %s: a negative limit", holdfast.ErrInvalid, c.Name)
	}
	return nil
}

// Use adds middleware around the handlers of all consumers and participants, whenever they
// were registered: inside Options.Middleware, outside that of the consumer or participant;
// the first is the outermost. Call it before Run.
func (w *Worker) Use(ms ...Middleware) {
	if slices.ContainsFunc(ms, isNil) {
		w.problem(fmt.Errorf("%w: Use of a nil Middleware", holdfast.ErrInvalid))
		return
	}
	w.o.Middleware = slices.Concat(w.o.Middleware, ms)
}

func isNil(m Middleware) bool { return m == nil }

// wrapper puts the worker's middleware around handlers, and inside it their own.
func (w *Worker) wrapper(own []Middleware) consuming.Wrapper {
	all := slices.Concat(w.o.Middleware, own)
	return func(h consuming.Handle) (consuming.Handle, error) { return consuming.Chain(all, Handle(h)) }
}

// TypedHandle turns a function on values into a [Handle] on messages of topic t. A
// body that does not decode is a dead letter at once.
func TypedHandle[T any](t holdfast.Topic[T],
	handle func(ctx context.Context, tx *gorm.DB, v T, m holdfast.Message) error) Handle {
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		v, err := t.Decode(m)
		if err != nil {
			return err
		}
		return handle(ctx, tx, v, m)
	}
}

// SendValue is [Worker.Send] for a message of topic t that carries v.
func SendValue[T any](ctx context.Context, w *Worker, t holdfast.Topic[T],
	key string, v T, local Local) (holdfast.Receipt, error) {
	m, err := t.Message(key, v)
	if err != nil {
		return holdfast.Receipt{}, err
	}
	return w.Send(ctx, m, local)
}

// consume runs one consumer until ctx is done and its handlers have returned.
func (w *Worker) consume(ctx context.Context, c Consumer) error {
	w.observer.Begins(c.Name)
	var limit *databases.Pool
	if c.Handle != nil {
		limit = w.databases.Pool(c.DB)
	}
	takes, err := consuming.Consumer{Name: c.Name, Topics: c.Topics, DB: c.DB, Handle: c.Handle,
		HandleAtLeastOnce: c.HandleAtLeastOnce, Undo: c.Undo, Logger: w.o.Logger}.Wrap(w.wrapper(c.Middleware))
	if err != nil {
		return fmt.Errorf("consumer %s: %w", c.Name, err)
	}
	return w.broker.Consume(ctx, broker.Subscription{
		Name: c.Name, Topics: c.Topics, Notices: c.notices(), Prefetch: c.Prefetch,
		Concurrency: limit.Concurrency(c.Concurrency), Tries: c.Tries,
		Ladder: c.Ladder, Policy: c.DeadLetters, Breaker: c.Breaker, Observe: w.observer.Event,
		HandlerTimeout: c.Timeout, DrainTimeout: w.o.Timeouts.Drain, NeedsID: c.Handle != nil,
		Handle: w.processing(limit.Handling(w.opening(takes.Take))),
	})
}

// processing is handle inside a span, where this process traces.
func (w *Worker) processing(handle func(context.Context, broker.Delivery) error,
) func(context.Context, broker.Delivery) error {
	if w.trace == nil {
		return handle
	}
	return func(ctx context.Context, d broker.Delivery) error {
		known, _ := holdfast.DeliveryFrom(ctx)
		return w.trace.Process(ctx, telemetry.Delivery{Message: d.Message, Known: known, Notice: d.Notice != nil},
			func(ctx context.Context) error { return handle(ctx, d) })
	}
}

// opening is handle for messages that may be sealed.
func (w *Worker) opening(handle func(context.Context, broker.Delivery) error,
) func(context.Context, broker.Delivery) error {
	return func(ctx context.Context, d broker.Delivery) (err error) {
		if d.Message, err = w.open(ctx, d); err != nil {
			return broker.Excuse(err)
		}
		return handle(ctx, d)
	}
}

// open opens what a delivery carries, for the message that it is, or is about.
func (w *Worker) open(ctx context.Context, d broker.Delivery) (holdfast.Message, error) {
	if d.Notice != nil {
		return w.box.Open(ctx, d.Message, d.Notice.Of, d.Notice.Topic)
	}
	return w.box.OpenOwn(ctx, d.Message)
}

// notices are the topics whose compensation notices the consumer's queue gets, beside
// those that it names among its topics.
func (c Consumer) notices() []string {
	if c.Undo == nil {
		return nil
	}
	return c.Topics
}
