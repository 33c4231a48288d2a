package worker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// connect reaches the three parts, and prepares what they need.
func (w *Worker) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeouts.Start)
	defer cancel()
	var err error
	if w.broker, err = w.openBroker(ctx); err != nil {
		return err
	}
	if err = w.prepare(ctx); err != nil {
		_ = w.broker.Close(ctx) // the first error is the one to know
		return err
	}
	traced := w.trace.LaneBroker(w.broker)
	w.lanes.Connect(traced, w.databases.Own())
	if w.sagas.express != nil {
		w.sagas.express.Connect(traced)
		w.useExpress(nil)
	}
	w.keeper.Broker = w.broker
	return nil
}

func (w *Worker) prepare(ctx context.Context) error {
	for _, db := range w.databases.All() {
		if err := w.retry(ctx, "PostgreSQL", func() error { return w.databases.Meet(ctx, db) }); err != nil {
			return err
		}
	}
	if err := w.require(ctx); err != nil {
		return err
	}
	if w.o.Temporal != nil {
		if w.o.Lane != holdfast.Express { // which goes without for a while
			if err := w.retry(ctx, "Temporal", func() error { return w.prepareTemporal(ctx) }); err != nil {
				return err
			}
		}
	}
	if w.sender {
		if err := w.broker.DeclareGroup(ctx, w.o.Group); err != nil {
			return err
		}
	}
	for _, c := range w.consumers {
		if err := w.broker.DeclareConsumer(ctx, c.Name, c.Topics, c.notices()...); err != nil {
			return err
		}
	}
	for _, p := range w.participants {
		if err := w.broker.DeclareConsumer(ctx, p.Name, p.topics()); err != nil {
			return err
		}
	}
	if w.sender {
		return w.recall(ctx)
	}
	return nil
}

func (w *Worker) openBroker(ctx context.Context) (b *broker.Broker, err error) {
	err = w.retry(ctx, "RabbitMQ", func() error {
		o := w.o.brokerOptions()
		o.HalfQueues, o.NoDeclare, o.ConsumerTimeout = w.o.Tuning.HalfQueues, !w.o.declares(), w.o.Timeouts.Consumer
		o.HalfBatch = w.o.Tuning.HalfBatch
		o.OnRemade = w.memory.Remade
		o.OnRefused = func(r broker.Refusal) { w.observer.Refused(r, r.First && w.broker.IsAlert(r)) }
		o.RollingUpgrade = w.o.RollingUpgrade
		b, err = broker.Open(ctx, o)
		return err
	})
	return b, err
}

func (w *Worker) prepareTemporal(ctx context.Context) error {
	if _, err := w.o.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return temporalerr.Unavailable("reach the server", err)
	}
	namespace, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	err = EnsureSearchAttributes(ctx, w.o.Temporal, namespace)
	if temporalerr.NoNamespace(err) {
		return temporalerr.Unavailable("see to the search attributes", err)
	}
	var unavailable *serviceerror.Unavailable
	var deadline *serviceerror.DeadlineExceeded
	if errors.As(err, &unavailable) || errors.As(err, &deadline) {
		return temporalerr.Unavailable("see to the search attributes", err)
	}
	return err
}

// retry repeats do while the part cannot be reached. Anything else that is wrong
// will not change by waiting.
func (w *Worker) retry(ctx context.Context, part string, do func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = 2 * time.Second
	var last error // of a try that was not cut off, if there was one
	silent := 0    // refusals without a word, in a row
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if err == nil || !lasting(err) {
			silent = 0
			return struct{}{}, err
		}
		if silent++; unsaid(err) && silent < silentRefusals {
			return struct{}{}, err
		}
		return struct{}{}, backoff.Permanent(err)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		w.o.Logger.Warn("not reached yet", "part", part, "error", err, "next", next)
	}))
	if err != nil && ctx.Err() != nil && last != nil {
		return last // it says more than that the time is up
	}
	return err
}

// lasting reports whether err will not change by waiting.
func lasting(err error) bool {
	var unavailable *holdfast.UnavailableError
	return !errors.As(err, &unavailable) || refused(err)
}

// silentRefusals are as many refusals without a word as are believed.
const silentRefusals = 3

// unsaid reports whether a refusal may be none: RabbitMQ refuses credentials by closing the
// connection without a word, and a RabbitMQ that goes down does the same.
func unsaid(err error) bool {
	var rabbit *amqp.Error
	return errors.As(err, &rabbit) && !rabbit.Server
}

// refused reports whether a server was reached, and refuses these credentials,
// this virtual host or this database.
func refused(err error) bool {
	if temporalerr.Denied(err) || temporalerr.NoNamespace(err) {
		return true
	}
	var rabbit *amqp.Error
	if errors.As(err, &rabbit) {
		return rabbit.Code == amqp.AccessRefused || rabbit.Code == amqp.NotAllowed
	}
	var postgres interface{ SQLState() string }
	if errors.As(err, &postgres) {
		code := postgres.SQLState()
		return strings.HasPrefix(code, "28") || code == "3D000"
	}
	return false
}

// disconnect writes the last op records and closes the broker's connections.
func (w *Worker) disconnect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := w.broker.Close(ctx); err != nil {
		w.o.Logger.Warn("closing the broker", "error", err)
	}
	w.memory.Wait()
}

// closeTimeout bounds the closing of each kind of connection.
const closeTimeout = 5 * time.Second
