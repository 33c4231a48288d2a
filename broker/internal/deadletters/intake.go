// Package deadletters is what becomes of the records in the queue of dead letters: Consume
// empties it into whoever takes them over, large ones are kept whole in a queue beside it,
// what a policy of RabbitMQ's took out is put back, and a dead letter is delivered again.
// Workers run it through Broker. It knows RabbitMQ's client, the Maker of queues, and
// consumer's way to say what is nobody's fault.
package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// Record is one record of the queue of dead letters: one of the two is set.
type Record struct {
	// Letter is a dead letter.
	Letter *holdfast.DeadLetter
	// Handled says that a redelivered message was handled.
	Handled *wire.HandledRecord
}

// ID is the dead letter's, in either case.
func (r Record) ID() string {
	if r.Handled != nil {
		return r.Handled.MessageID
	}
	return r.Letter.ID
}

// Options say how the queue of dead letters is emptied. The zero value of
// every field but Take means its default.
type Options struct {
	// Concurrency is how many calls of Take run at a time. Default 16.
	Concurrency int
	// Prefetch is how many records are held unacknowledged at most, those that
	// Take refused included; memory is bounded by that many bodies. Default 32,
	// or Concurrency if that is more; at most 65,535.
	Prefetch int
	// MaxBody is the longest body, in bytes, that a dead letter carries whole.
	// Default, and most, [holdfast.MaxBody].
	MaxBody int
	// Take takes a record over: nil means that it will be dealt with whatever
	// dies from now on, and the record is acknowledged. With an error, or a
	// panic, it is tried again after a pause that grows to 15 s, for ever. Mark
	// with [consumer.Wait] what is no fault of the record, such as a Temporal that is
	// away. The same record may come more than once, also after nil, and records
	// come in any order. Its context ends after 30 s. Required.
	Take func(ctx context.Context, r Record) error
}

const (
	takeTimeout = 30 * time.Second
	intakePause = 15 * time.Second
	// intakeHold is how long a record that Take refuses is held: well below
	// RabbitMQ's consumer_timeout of 30 min.
	intakeHold = 2 * time.Minute
	// crowdedHold is the same for one that is at fault itself, while such records
	// fill half of the prefetch window and would soon hold up the others.
	crowdedHold = 10 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Concurrency == 0 {
		o.Concurrency = 16
	}
	if o.Prefetch == 0 {
		o.Prefetch = max(32, o.Concurrency)
	}
	if o.MaxBody == 0 {
		o.MaxBody = holdfast.MaxBody
	}
	return o
}

// Holds are how long records are held that Take refuses; zero means the constants.
type Holds struct{ Refused, Crowded time.Duration }

func (h Holds) withDefaults() Holds {
	return Holds{Refused: cmp.Or(h.Refused, intakeHold), Crowded: cmp.Or(h.Crowded, crowdedHold)}
}

func (o Options) validate() error {
	switch {
	case o.Take == nil:
		return fmt.Errorf("%w: DeadOptions.Take is nil", holdfast.ErrInvalid)
	case o.Concurrency < 1 || o.Concurrency > 65_535:
		return fmt.Errorf("%w: DeadOptions.Concurrency is %d: want 1 to 65535", holdfast.ErrInvalid, o.Concurrency)
	case o.Prefetch < o.Concurrency || o.Prefetch > 65_535:
		return fmt.Errorf("%w: DeadOptions.Prefetch is %d: want at least Concurrency (%d) and at most 65535",
			holdfast.ErrInvalid, o.Prefetch, o.Concurrency)
	case o.MaxBody < 1 || o.MaxBody > holdfast.MaxBody:
		return fmt.Errorf("%w: DeadOptions.MaxBody is %d: want 1 to %d, which is what a workflow can carry",
			holdfast.ErrInvalid, o.MaxBody, holdfast.MaxBody)
	}
	return nil
}

// Consume empties the queue of dead letters into Take until ctx is done.
func Consume(ctx context.Context, c *link.Client, topo *topology.Maker, o Options, h Holds) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	in := &intake{Pool: link.NewPool(ctx, c.Log, "dead letters"), c: c, o: o, holds: h.withDefaults(), log: c.Log,
		slots: make(chan struct{}, o.Concurrency)}
	defer in.Cancel(nil)
	err := c.Subs.Resubscribe(ctx, in.log, c.DeadQueue(), o.Prefetch,
		func(ctx context.Context) error { return topo.Declare(ctx, topo.BaseSteps()) },
		func(ctx context.Context, s *link.Subscription) {
			in.Session(ctx, s, in.record)
			if ctx.Err() != nil {
				_ = in.Drain() // while what finishes can be acknowledged
			}
		})
	return errors.Join(err, in.Drain())
}

type intake struct {
	*link.Pool
	c     *link.Client
	o     Options
	holds Holds
	log   *slog.Logger
	slots chan struct{} // one for each running call of Take

	waiting atomic.Int64 // records that Take refused, pausing

	mu     sync.Mutex
	logged time.Time
}

// record deals with one delivery, until gone is done: then it is RabbitMQ's again.
func (in *intake) record(gone context.Context, d *amqp.Delivery) {
	r := in.read(d)
	large := r.Letter != nil && wire.Oversized(r.Letter, in.o.MaxBody)
	pause := link.NewBackoff()
	pause.MaxInterval = intakePause
	came := time.Now()
	for {
		err := in.try(gone, d, r, large)
		switch {
		case err == nil:
			in.settle(d.Ack(false))
			return
		case gone.Err() != nil:
			in.settle(d.Nack(false, true))
			return
		}
		in.complain(r, err)
		in.waiting.Add(1)
		ok := link.Sleep(gone, min(pause.NextBackOff(), in.hold(err)))
		limit := in.hold(err)
		in.waiting.Add(-1)
		if ok && time.Since(came) < limit {
			continue
		}
		if ok && !large && in.putBack(d, r) {
			in.settle(d.Ack(false))
			return
		}
		in.settle(d.Nack(false, true))
		return
	}
}

func (in *intake) read(d *amqp.Delivery) Record {
	t := in.c.Trust()
	t.VetDead(d)
	if h, ok := t.DecodeHandled(d); ok {
		return Record{Handled: h}
	}
	l := t.DecodeDead(d, time.Now())
	t.AdmitDead(d) // what is put back counts
	return Record{Letter: &l}
}

// try hands the record over, as soon as there is a slot.
func (in *intake) try(gone context.Context, d *amqp.Delivery, r Record, large bool) error {
	tooLong := time.NewTimer(in.holds.Refused) // calls of Take that hang must not come to consumer_timeout
	defer tooLong.Stop()
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	case <-tooLong.C:
		return consumer.Wait(errors.New("all calls of Take are slow: there was no slot for this one"))
	case <-gone.Done():
		return link.ErrGone
	}
	if gone.Err() != nil {
		return link.ErrGone
	}
	if large {
		return KeepWhole(in.Calls, in.c, d, r.Letter, in.o.MaxBody)
	}
	ctx, cancel := context.WithTimeout(in.Calls, takeTimeout)
	defer cancel()
	err := link.Protect(func() error { return in.o.Take(ctx, r) })
	if err == nil {
		fault.Point(fault.DeadTakenBeforeAck)
	}
	return err
}

// hold is how long a record that failed with err may be held.
func (in *intake) hold(err error) time.Duration {
	if !consumer.Waits(err) && in.waiting.Load()*2 > int64(in.o.Prefetch) {
		return in.holds.Crowded
	}
	return in.holds.Refused
}

// putBack stores the record behind all others. A copy that a crash leaves has the
// same ID.
func (in *intake) putBack(d *amqp.Delivery, r Record) bool {
	err := toTail(in.Calls, in.c, d, r.Letter)
	if err != nil {
		in.log.Warn("a dead letter could not be put behind the others; it is given back", "id", r.ID(), "error", err)
	}
	return err == nil
}

func (in *intake) settle(err error) {
	if err != nil {
		in.log.Debug("acknowledgement lost with its channel: the dead letter will be delivered again", "error", err)
	}
}

// complain logs that records wait, but not for each of them.
func (in *intake) complain(r Record, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if time.Since(in.logged) < 10*time.Second {
		return
	}
	in.logged = time.Now()
	in.log.Warn("dead letters could not be taken over; they are kept and tried again", "id", r.ID(), "waiting",
		in.waiting.Load()+1, "error", err)
}
