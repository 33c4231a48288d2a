package keeper

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// tenure is a Keeper's time with one subscription.
type tenure struct {
	*keeper
	s      *link.Subscription
	core   *keeperCore
	acks   *link.AckLedger
	active bool // nobody is told; the first record shows it
	yields bool // another process takes this one's place
	trust  wire.Trust

	bad     chan badRecord  // never blocks: half of it is for malformed ones
	results chan handedOver // never blocks: all are records of the window
}

// session keeps until the subscription is lost or ctx is done.
func (k *keeper) session(ctx context.Context, s *link.Subscription) {
	t := &tenure{keeper: k, s: s, trust: k.Client.Trust(), acks: link.NewAckLedger(k.o.Window, link.AckDelay),
		core: newKeeperCore(keeperLimits{window: k.o.Window, checkAfter: k.o.CheckAfter,
			join: min(sweepJoin, k.o.CheckAfter/20), orphanAfter: k.o.CheckAfter,
			recallAfter: recallAfter, sweepMax: k.o.SweepMax, sweepBytes: k.o.SweepBytes, sweeps: keeperSweeps,
			bytes: k.o.HeldBytes}),
		bad: make(chan badRecord, 2*k.o.Window), results: make(chan handedOver, k.o.Window+keeperSweeps)}
	k.stats.Subscribed = true
	k.stats.Subscriptions++
	losses := k.Losses(k.queue)
	k.storeAgain(ctx)
	k.sayAble(ctx)
	end, cancel := context.WithCancel(ctx)
	var side sync.WaitGroup
	side.Go(func() { k.bury(end, t.bad, t.results) })
	t.run(ctx)
	cancel()
	side.Wait()
	k.left = t.core.left()
	k.left.losses = losses
	k.stats.Subscribed = false
	k.show(newKeeperCore(keeperLimits{}), false)
}

func (t *tenure) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.carryOut(ctx, t.core.due(time.Now()))
		t.show(t.core, t.active)
		if at := t.acks.Next(); !at.IsZero() && !at.After(time.Now()) {
			t.acknowledge()
		}
		if t.yields {
			t.finish(ctx)
			t.s.Failed = link.ErrYielded
			return
		}
		if at := link.Sooner(t.core.next(), t.acks.Next()); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case d, ok := <-t.s.Deliveries:
			if !ok || !t.take(ctx, d) {
				return
			}
		case r := <-t.results:
			t.carryOut(ctx, t.result(r))
		case p := <-t.peeks:
			p.answer <- t.core.peek(p.n)
		case <-t.able:
			t.another(time.Now())
		case <-timer.C:
		case <-ctx.Done():
			t.finish(ctx)
			return
		}
	}
}

// finish awaits the hand-overs: those that succeed nevertheless are acknowledged.
func (t *tenure) finish(ctx context.Context) {
	for t.core.sweeping > 0 {
		t.carryOut(ctx, t.result(<-t.results))
	}
	t.acknowledge()
	time.Sleep(ackSettle)
}

// take takes in a delivery and what is there behind it, up to atOnce. It reports
// whether there may be more.
func (t *tenure) take(ctx context.Context, d amqp.Delivery) bool {
	t.active = true
	for n := 1; ; n++ {
		t.acks.Deliver(d.DeliveryTag)
		t.carryOut(ctx, t.receive(&d))
		if n == atOnce {
			return true
		}
		var ok bool
		select {
		case d, ok = <-t.s.Deliveries:
			if !ok {
				return false
			}
		default:
			return true
		}
	}
}

// receive gives one record to the core.
func (t *tenure) receive(d *amqp.Delivery) keeperEffects {
	now := time.Now()
	ours, err := t.trust.AdmitHalf(d)
	switch kind := wire.HeaderText(d.Headers[wire.HeaderKind]); {
	case err != nil:
	case wire.IsHalves(d.Headers):
		var many manyArrival
		if many, err = t.readMany(d); err == nil {
			t.answer(d)
			return t.core.onMany(many, now)
		}
	case kind == wire.KindHalf:
		var tx string
		if wire.IsSaga(d.Headers) {
			err = t.trust.MayStart(d)
		}
		if err == nil {
			tx, err = t.readHalf(d)
		}
		if err == nil {
			t.answer(d)
			record := *d
			return t.core.onHalf(halfArrival{tx: tx, lane: wire.LaneOf(d.Headers), tag: d.DeliveryTag, size: len(d.Body),
				record: &heldRecord{d: &record}}, now)
		}
	case kind == wire.KindOp:
		if !ours {
			t.ignore(now)
			return t.core.onIgnored(d.DeliveryTag)
		}
		var txs []string
		if txs, err = wire.DecodeOp(d.Headers, d.Body, t.o.Group); err == nil {
			t.answer(d)
			return t.core.onOp(txs, d.DeliveryTag, now)
		}
	default:
		err = wire.Malformed("a record of kind %q in the half queue, want %q or %q", wire.Clip(kind, 64), wire.KindHalf,
			wire.KindOp)
	}
	t.core.onBad()
	record := *d
	t.bad <- badRecord{&record, err}
	return keeperEffects{}
}

// ignore notes an op record that does not count: its transactions are checked back,
// which is always right.
func (t *tenure) ignore(now time.Time) {
	t.stats.Ignored++
	if now.Sub(t.ignoreLogged) > 10*time.Second {
		t.ignoreLogged = now
		t.log.Warn("op records came through the default exchange and do not count; their transactions are checked "+
			"back: if processes of an older version still run, set RollingUpgrade",
			"ignored so far", t.stats.Ignored)
	}
}

// readHalf says whose half record it is. Its body is read when it is handed over,
// which with its op record it never is, or now if somebody waits for the answer.
func (t *tenure) readHalf(d *amqp.Delivery) (tx string, err error) {
	if wire.Number(d.Headers[wire.HeaderRedelivery]) == 0 {
		return wire.HeadOfHalf(d.Headers, len(d.Body), t.o.Group, t.Client.MaxBody)
	}
	h, err := wire.DecodeHalf(d.Headers, d.Body, t.o.Group, t.Client.MaxBody)
	return h.TxID, err
}

// readMany says whose half records are in a record of many. Each line is read when it is handed
// over: one that cannot be read becomes a dead letter of its own, and the others go on.
func (t *tenure) readMany(d *amqp.Delivery) (manyArrival, error) {
	txs, lines, err := wire.SplitHalves(d.Headers, d.Body, t.o.Group)
	if err != nil {
		return manyArrival{}, err
	}
	head := *d
	head.Body = nil // each half has its own line: one that stays does not keep the others in memory
	many := manyArrival{name: d.MessageId, lane: wire.LaneOf(d.Headers), tag: d.DeliveryTag,
		halves: make([]halfArrival, len(txs))}
	for i, tx := range txs {
		many.halves[i] = halfArrival{tx: tx, size: len(lines[i]),
			record: &heldRecord{d: &head, tx: tx, body: bytes.Clone(lines[i])}}
	}
	return many, nil
}

// answer says that a redelivered record can be read now: from here on it is as
// good as any other. The answer is not waited for; if it is lost, an operator
// ends the dead letter.
func (t *tenure) answer(d *amqp.Delivery) {
	if wire.Number(d.Headers[wire.HeaderRedelivery]) == 0 || d.MessageId == "" {
		return
	}
	if len(t.bad) >= t.o.Window {
		t.log.Warn("a redelivered record can be read now, but its dead letter is not told", "message", d.MessageId)
		return
	}
	record := *d
	t.bad <- badRecord{&record, nil}
}

// result gives the core what came of a hand-over.
func (t *tenure) result(r handedOver) keeperEffects {
	if r.sweep == nil {
		t.stats.Malformed++
		return t.core.onBuried(r.tag)
	}
	now := time.Now()
	errs := r.errs
	var failure error
	taken := false
	for i := range errs {
		switch {
		case errs[i] == nil:
			t.stats.HandedOver++
			taken = true
		case errors.Is(errs[i], errBuried):
			t.stats.Malformed++
		default:
			t.yields = t.yields || errors.Is(errs[i], ErrYield)
			t.stats.Failed++
			failure = errs[i]
		}
	}
	if taken {
		t.stats.FailingSince = time.Time{}
	}
	switch {
	case failure == nil && taken:
		t.stats.LastError = ""
	case failure != nil:
		t.stats.LastError = wire.Clip(failure.Error(), wire.MaxStatusError)
		if !taken && t.stats.FailingSince.IsZero() {
			t.stats.FailingSince = now
		}
	}
	if failure != nil && t.worthLogging(failure, now) {
		t.log.Warn("half messages could not be handed over and stay held; trying again", "of this sweep", len(r.sweep),
			"undecided", t.core.undecided(), "failed so far", t.stats.Failed, "error", failure)
	}
	e := t.core.onHandedOver(r.sweep, errs, now)
	if len(e.acks) > 0 {
		fault.Point(fault.KeeperBeforeAck)
	}
	return e
}

// worthLogging reports whether a failed hand-over is logged: something new every 10
// s at most, what was said before every ten minutes.
func (t *tenure) worthLogging(failure error, now time.Time) bool {
	pause, text := failLogPause, wire.Clip(failure.Error(), wire.MaxStatusError)
	if text == t.failText {
		pause = sameFailLogPause
	}
	if t.yields || now.Sub(t.failLogged) <= pause {
		return false
	}
	t.failLogged, t.failText = now, text
	return true
}

func (t *tenure) carryOut(ctx context.Context, e keeperEffects) {
	if e.held {
		fault.Point(fault.KeeperHolding)
	}
	t.stats.Matched += uint64(e.matched)
	t.stats.Orphaned += uint64(e.orphaned)
	if len(e.acks) > 0 {
		now := time.Now()
		for _, tag := range e.acks {
			t.acks.Settle(tag, now)
		}
	}
	for _, tag := range e.recalls {
		t.acks.GiveBack(tag)
		if t.s.Ch.Nack(tag, false, true) != nil {
			break // the channel is lost: everything comes again
		}
	}
	for _, sweep := range e.sweeps {
		records := make([]*amqp.Delivery, len(sweep)) // the core may drop them meanwhile
		for i, held := range sweep {
			records[i] = held.record.delivery()
		}
		t.handing.Go(func() { t.results <- handedOver{sweep: sweep, errs: t.handOver(ctx, records)} })
	}
}

// acknowledge sends the acknowledgements that wait.
func (t *tenure) acknowledge() {
	for _, f := range t.acks.Flush() {
		if t.s.Ch.Ack(f.Tag, f.Multiple) != nil {
			return // the channel is lost: everything comes again
		}
	}
}

// handOver calls HandOver with the halves that can be read, and takes the others
// to the dead letters. A panic there is an error of every half.
func (k *keeper) handOver(ctx context.Context, records []*amqp.Delivery) (errs []error) {
	errs = make([]error, len(records))
	var halves []holdfast.Half
	var at []int // their places in errs
	for i, d := range records {
		h, err := wire.DecodeHalf(d.Headers, d.Body, k.o.Group, k.Client.MaxBody)
		if err == nil {
			halves, at = append(halves, h), append(at, i)
			continue
		}
		k.logMalformed(d, err)
		errs[i] = k.giveUp(ctx, d, err)
	}
	if len(halves) == 0 {
		return errs
	}
	results := k.callHandOver(ctx, halves)
	for j, i := range at {
		errs[i] = errTooFew
		if j < len(results) {
			errs[i] = results[j]
		}
		if halves[j].Saga != nil && errors.Is(errs[i], holdfast.ErrDuplicate) { // no waiting changes that
			errs[i] = k.giveUp(ctx, records[i], errs[i])
		}
	}
	return errs
}

// giveUp makes a dead letter of a record that was to be handed over.
func (k *keeper) giveUp(ctx context.Context, d *amqp.Delivery, why error) error {
	if err := k.Client.Bury(ctx, d, wire.DeathOf(k.queue, "", 1, why, time.Now())); err != nil {
		return err
	}
	return errBuried
}

var errTooFew = errors.New("HandOver returned too few errors")

func (k *keeper) callHandOver(ctx context.Context, halves []holdfast.Half) (errs []error) {
	defer func() {
		if v := recover(); v != nil {
			err := guard.Panicked(v)
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
			store := func() error {
				return k.Client.PublishDead(ctx, wire.EncodeHandled(k.queue, "", r.d.MessageId, wire.CopyOfLetter(r.d.Headers),
					wire.Number(r.d.Headers[wire.HeaderRedelivery])))
			}
			if r.err != nil {
				k.logMalformed(r.d, r.err)
				death := wire.DeathOf(k.queue, "", 1, r.err, time.Now())
				store = func() error { return k.Client.Bury(ctx, r.d, death) }
			}
			pause := link.NewBackoff()
			for {
				err := store()
				if err == nil {
					if r.err != nil {
						results <- handedOver{tag: r.d.DeliveryTag}
					}
					break
				}
				k.log.Error("a malformed or cured record could not be stored with the dead letters; trying again",
					"error", err)
				if !link.Sleep(ctx, pause.NextBackOff()) {
					return
				}
			}
		}
	}
}

func (k *keeper) logMalformed(d *amqp.Delivery, err error) {
	k.log.Warn("a malformed record in the half queue goes to the dead letters", "message", d.MessageId, "error", err)
}
