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

// KeeperOptions say which half queue is kept and who takes over what stays
// undecided. The zero value of every field but Group and HandOver means its
// default.
type KeeperOptions struct {
	// Group is the producer group whose half queue it is. Required.
	Group string
	// Window is how many records are held unacknowledged at most. Default
	// 2000, 10 to 65,535. When halves that nobody settles fill 90 % of it, the
	// oldest are handed over before their time.
	Window int
	// CheckAfter is the age, as seen by this Keeper, at which a half that no op
	// record settled is handed over. Default 10 s.
	CheckAfter time.Duration
	// HandOver takes halves over: it returns one error for each, nil where the
	// half will be brought to its end whatever dies from now on. What it did
	// not take over it gets again, after a growing pause of 1 to 30 s. The same
	// half may come more than once, also after nil. Up to four calls run at a
	// time; ctx is done when Keep is to end. Required.
	HandOver func(ctx context.Context, halves []holdfast.Half) []error
	// SweepMax is the number of halves of one HandOver at most. Default 200.
	SweepMax int
	// SweepBytes limits the records' bytes of one HandOver, unless a single
	// half has more. Default 512 KiB.
	SweepBytes int
	// Stats, if not nil, is called with the current numbers when they changed.
	// It runs in the Keeper's own goroutine: it must return quickly.
	Stats func(KeeperStats)
}

// KeeperStats are a Keeper's numbers. The counts begin at 0 with Keep; a record
// that comes again after a lost connection counts again.
type KeeperStats struct {
	// Subscribed says that the Keeper listens to the half queue. Of several
	// only one gets records.
	Subscribed bool
	// Subscriptions counts how often it subscribed: the first time, and after
	// each loss.
	Subscriptions uint64
	// Held is the number of records held, HandingOver the part of them whose
	// halves are being handed over.
	Held, HandingOver int
	// Matched counts halves settled by an op record, HandedOver those that
	// HandOver took, Failed those that it did not take at a try.
	Matched, HandedOver, Failed uint64
	// Orphaned counts op records forgotten although halves of theirs never
	// came, Malformed the records that went to the dead letters.
	Orphaned, Malformed uint64
}

const keeperSweeps = 4

func (o KeeperOptions) withDefaults() KeeperOptions {
	if o.Window == 0 {
		o.Window = 2000
	}
	if o.CheckAfter == 0 {
		o.CheckAfter = 10 * time.Second
	}
	if o.SweepMax == 0 {
		o.SweepMax = 200
	}
	if o.SweepBytes == 0 {
		o.SweepBytes = 512 << 10
	}
	return o
}

func (o KeeperOptions) validate() error {
	if err := validGroup(o.Group); err != nil {
		return err
	}
	switch {
	case o.HandOver == nil:
		return fmt.Errorf("%w: KeeperOptions.HandOver is nil", holdfast.ErrInvalid)
	case o.Window < 10 || o.Window > 65_535:
		return fmt.Errorf("%w: KeeperOptions.Window is %d: want 10 to 65535", holdfast.ErrInvalid, o.Window)
	case o.CheckAfter < 0 || o.SweepMax < 0 || o.SweepBytes < 0:
		return fmt.Errorf("%w: KeeperOptions: CheckAfter, SweepMax and SweepBytes must not be negative", holdfast.ErrInvalid)
	}
	return nil
}

// Keep runs a Keeper for one half queue until ctx is done, then returns nil: it
// holds half messages, forgets those that an op record settles, and hands over
// those that stay undecided. Any number of processes may keep the same group:
// one is active, and another takes its place when it goes. It goes on by itself
// after lost connections; an error means wrong options, a half queue that
// exists with other arguments, or a closed Broker.
func (b *Broker) Keep(ctx context.Context, o KeeperOptions) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	k := &keeper{b: b, o: o, queue: b.HalfQueue(o.Group), log: b.log.With("group", o.Group)}
	defer b.showKeeper(k.status)()
	defer k.handing.Wait()
	return b.resubscribe(ctx, k.log, k.queue, o.Window,
		func(ctx context.Context) error { return b.DeclareGroup(ctx, o.Group) }, k.session)
}

type keeper struct {
	b     *Broker
	o     KeeperOptions
	queue string
	log   *slog.Logger

	stats, told KeeperStats
	failLogged  time.Time
	handing     sync.WaitGroup

	mu    sync.Mutex
	shown keeperView
}

// handedOver is the result of one hand-over, or of one malformed record (tag).
type handedOver struct {
	sweep []*heldHalf
	errs  []error
	tag   uint64
}

// session keeps until the subscription is lost or ctx is done.
func (k *keeper) session(ctx context.Context, s *subscription) {
	core := newKeeperCore(keeperLimits{window: k.o.Window, checkAfter: k.o.CheckAfter, orphanAfter: k.o.CheckAfter,
		sweepMax: k.o.SweepMax, sweepBytes: k.o.SweepBytes, sweeps: keeperSweeps})
	k.stats.Subscribed = true
	k.stats.Subscriptions++
	bad := make(chan badRecord, 2*k.o.Window)                 // never blocks: half of it is for malformed ones
	results := make(chan handedOver, k.o.Window+keeperSweeps) // never blocks: all are records of the window
	end, cancel := context.WithCancel(ctx)
	var side sync.WaitGroup
	side.Go(func() { k.bury(end, bad, results) })
	defer func() {
		cancel()
		side.Wait()
		k.stats.Subscribed, k.stats.Held, k.stats.HandingOver = false, 0, 0
		k.show(keeperView{stats: k.stats})
		k.tell()
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	active := false // nobody is told; the first record shows it
	for {
		e := core.due(time.Now())
		k.carryOut(ctx, s, e, results)
		k.stats.Held, k.stats.HandingOver = core.tags, core.handing
		k.show(keeperView{k.stats, active, len(core.halves), core.oldest()})
		k.tell()
		if at := core.next(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case d, ok := <-s.deliveries:
			if !ok {
				return
			}
			active = true
			k.carryOut(ctx, s, k.receive(core, &d, bad), results)
		case r := <-results:
			k.carryOut(ctx, s, k.result(core, r), results)
		case <-timer.C:
		case <-ctx.Done():
			// Hand-overs that succeed nevertheless are acknowledged.
			for core.sweeping > 0 {
				k.carryOut(ctx, s, k.result(core, <-results), results)
			}
			return
		}
	}
}

// receive gives one record to the core.
func (k *keeper) receive(core *keeperCore, d *amqp.Delivery, bad chan<- badRecord) keeperEffects {
	var err error
	switch kind := headerText(d.Headers[headerKind]); kind {
	case kindHalf:
		var h holdfast.Half
		if h, err = decodeHalf(d.Headers, d.Body, k.o.Group, k.b.o.MaxBody); err == nil {
			k.answer(d, bad)
			return core.onHalf(h, d.DeliveryTag, len(d.Body), time.Now())
		}
	case kindOp:
		var txs []string
		if txs, err = decodeOp(d.Headers, d.Body, k.o.Group); err == nil {
			k.answer(d, bad)
			return core.onOp(txs, d.DeliveryTag, time.Now())
		}
	default:
		err = malformed("a record of kind %q in the half queue, want %q or %q", clip(kind, 64), kindHalf, kindOp)
	}
	core.onBad()
	bad <- badRecord{d, err}
	return keeperEffects{}
}

// answer says that a redelivered record can be read now: from here on it is as
// good as any other. The answer is not waited for; if it is lost, an operator
// ends the dead letter.
func (k *keeper) answer(d *amqp.Delivery, side chan<- badRecord) {
	if number(d.Headers[headerRedelivery]) == 0 || d.MessageId == "" {
		return
	}
	if len(side) >= k.o.Window {
		k.log.Warn("a redelivered record can be read now, but its dead letter is not told", "message", d.MessageId)
		return
	}
	side <- badRecord{d, nil}
}

// result gives the core what came of a hand-over.
func (k *keeper) result(core *keeperCore, r handedOver) keeperEffects {
	if r.sweep == nil {
		k.stats.Malformed++
		return core.onBuried(r.tag)
	}
	var failure error
	for i := range r.sweep {
		switch {
		case i >= len(r.errs):
			k.stats.Failed++
			failure = errors.New("HandOver returned too few errors")
		case r.errs[i] == nil:
			k.stats.HandedOver++
		default:
			k.stats.Failed++
			failure = r.errs[i]
		}
	}
	if failure != nil && time.Since(k.failLogged) > 10*time.Second {
		k.failLogged = time.Now()
		k.log.Warn("half messages could not be handed over and stay held; trying again", "of this sweep", len(r.sweep), "failed so far", k.stats.Failed, "error", failure)
	}
	e := core.onHandedOver(r.sweep, r.errs, time.Now())
	if len(e.acks) > 0 {
		fault.Point(fault.KeeperBeforeAck)
	}
	return e
}

func (k *keeper) carryOut(ctx context.Context, s *subscription, e keeperEffects, results chan<- handedOver) {
	if e.held {
		fault.Point(fault.KeeperHolding)
	}
	k.stats.Matched += uint64(e.matched)
	k.stats.Orphaned += uint64(e.orphaned)
	for _, tag := range e.acks {
		if err := s.ch.Ack(tag, false); err != nil {
			break // the channel is lost: everything comes again
		}
	}
	for _, sweep := range e.sweeps {
		halves := make([]holdfast.Half, len(sweep))
		for i, held := range sweep {
			halves[i] = held.half
		}
		k.handing.Go(func() { results <- handedOver{sweep: sweep, errs: k.handOver(ctx, halves)} })
	}
}

// handOver calls HandOver; a panic there is an error of every half.
func (k *keeper) handOver(ctx context.Context, halves []holdfast.Half) (errs []error) {
	defer func() {
		if v := recover(); v != nil {
			err := panicError(v)
			errs = make([]error, len(halves))
			for i := range errs {
				errs[i] = err
			}
		}
	}()
	return k.o.HandOver(ctx, halves)
}

// badRecord is a malformed record, or, without err, one that a redelivery cured.
type badRecord struct {
	d   *amqp.Delivery
	err error
}

// bury sends malformed records to the dead letters, for as long as that takes, and
// says there which others are cured.
func (k *keeper) bury(ctx context.Context, bad <-chan badRecord, results chan<- handedOver) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-bad:
			msg := handledRecord(k.queue, "", r.d.MessageId, number(r.d.Headers[headerRedelivery]))
			if r.err != nil {
				k.log.Warn("a malformed record in the half queue goes to the dead letters", "message", r.d.MessageId, "error", r.err)
				msg = deadLetter(r.d, k.queue, "", 1, r.err, time.Now())
			}
			pause := newBackoff()
			for {
				err := k.b.publishDead(ctx, msg)
				if err == nil {
					if r.err != nil {
						results <- handedOver{tag: r.d.DeliveryTag}
					}
					break
				}
				k.log.Error("a malformed or cured record could not be stored with the dead letters; trying again", "error", err)
				if !sleep(ctx, pause.NextBackOff()) {
					return
				}
			}
		}
	}
}

func (k *keeper) tell() {
	if k.o.Stats != nil && k.stats != k.told {
		k.told = k.stats
		k.o.Stats(k.stats)
	}
}
