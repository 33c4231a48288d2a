package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// What is known of a publish that failed; every such error wraps one of the
// two, or holdfast.ErrUnroutable, holdfast.ErrInvalid or holdfast.ErrTooLarge,
// which say that nothing was stored.
var (
	// ErrNotSent means that RabbitMQ has certainly not stored it.
	ErrNotSent = link.ErrNotSent
	// ErrConfirmUnknown means that it was sent and that its confirm is
	// outstanding, or was lost: RabbitMQ may or may not have stored it.
	ErrConfirmUnknown = link.ErrConfirmUnknown
)

// PublishHalf stores a half message in its half queue ([Broker.HalfQueueOf]) and returns once
// RabbitMQ has confirmed it. It is tried again until ctx is done (or for
// Options.PublishTimeout, if ctx has no deadline). The error of a missed
// deadline wraps that of ctx, says how RabbitMQ was, and is [ErrNotSent] or
// [ErrConfirmUnknown].
func (b *Broker) PublishHalf(ctx context.Context, h holdfast.Half) error {
	p, err := b.half(h)
	if err != nil {
		return err
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	return ofHalf(h, b.halves.Publish(ctx, p))
}

// PublishHalves is PublishHalf of several half messages that come together, each with the context
// of its place in ctxs. Those of a half queue share records, unless Options.HalfBatch is 1. done
// is told what became of each, at once, also by several goroutines at a time. PublishHalves
// returns when all has been told.
func (b *Broker) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	var bounded []context.Context
	var ps []*link.Publication
	var at []int // their places in hs
	for i, h := range hs {
		p, err := b.half(h)
		if err != nil {
			done(i, err)
			continue
		}
		ctx, cancel := b.c.Timeout(ctxs[i])
		defer cancel()
		bounded, ps, at = append(bounded, ctx), append(ps, p), append(at, i)
	}
	b.halves.PublishAll(bounded, ps, func(j int, err error) { done(at[j], ofHalf(hs[at[j]], err)) })
}

// half is the record of a half message.
func (b *Broker) half(h holdfast.Half) (*link.Publication, error) {
	if err := wire.ValidGroup(h.Group); err != nil {
		return nil, err
	}
	if err := wire.ValidTx(h.TxID); err != nil {
		return nil, err
	}
	if err := wire.ValidHalf(&h, b.o.MaxBody); err != nil {
		return nil, err
	}
	if h.Saga == nil {
		if err := b.Fits(h.Group, h.TxID, h.Messages); err != nil {
			return nil, err
		}
	}
	msg, err := wire.EncodeHalf(h)
	if err != nil {
		return nil, err
	}
	return &link.Publication{Exchange: b.c.HalfExchangeOf(msg.Headers), Key: b.HalfQueueOf(h.Group, h.TxID),
		Mandatory: true, Repair: true, Old: b.c.Rolling, Msg: msg}, nil
}

func ofHalf(h holdfast.Half, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("half message of transaction %s: %w", h.TxID, err)
}

// Fits says whether the messages of transaction txID can be published once it is
// committed, by the limits of the connection with RabbitMQ: what cannot be is
// [holdfast.ErrTooLarge], and must not be committed.
func (b *Broker) Fits(group, txID string, ms []holdfast.Message) error {
	return b.c.Publishing.Limits().Messages(group, txID, ms)
}

// PublishMessages publishes the messages of the committed transaction txID to
// the topics exchange, all at once, and returns once RabbitMQ has confirmed
// every one. It is repeated like PublishHalf: a message may be stored more than
// once, with the same ID. Of messages that were not delivered the error is a
// *[holdfast.DeliveryError]; [holdfast.ErrUnroutable] is not retried here and means that
// this message was not stored. What was confirmed in a call that had such an error is
// not published again by a later one of this Broker.
func (b *Broker) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	if err := wire.ValidGroup(group); err != nil {
		return err
	}
	if err := wire.ValidTx(txID); err != nil {
		return err
	}
	if err := holdfast.ValidateMessages(ms, b.o.MaxBody); err != nil {
		return err
	}
	confirmed := b.partly.Confirmed(group, txID, ms)
	ps := make([]link.Publication, 0, len(ms))
	for i, m := range ms {
		if m.ID == "" {
			return fmt.Errorf("%w: message %d of transaction %s has no ID: call holdfast.NumberMessages",
				holdfast.ErrInvalid, i+1, txID)
		}
		if confirmed == nil || !confirmed[i] {
			ps = append(ps, link.Publication{Exchange: b.TopicsExchange(), Key: m.Topic, Mandatory: !m.AllowUnrouted,
				Msg: wire.EncodeMessage(group, txID, m)})
		}
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	errs := b.c.Pub.All(ctx, ps, fault.CommitBeforeConfirm)
	if !slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		b.partly.Note(group, txID, ms, nil, true)
		return nil
	}
	return b.undelivered(group, txID, ms, confirmed, errs)
}

// undelivered is the error where some messages were not confirmed. Those that were
// confirmed before have no error in errs.
func (b *Broker) undelivered(group, txID string, ms []holdfast.Message, confirmed []bool, errs []error) error {
	failed := &holdfast.DeliveryError{}
	of, n := make([]error, len(ms)), 0
	for i, m := range ms {
		if confirmed == nil || !confirmed[i] {
			of[i] = errs[n]
			n++
		}
		if of[i] == nil {
			failed.Delivered = append(failed.Delivered, m.ID)
		} else {
			failed.Failed = append(failed.Failed, holdfast.FailedDelivery{ID: m.ID, Topic: m.Topic, Err: of[i]})
		}
	}
	if len(failed.Delivered) > 0 {
		b.partly.Note(group, txID, ms, of, false)
	}
	return failed
}

// Settle says that a transaction is done: its messages are published, or it is
// rolled back, so that the Keeper can forget its half message. The op record
// that says so is written later, together with others; nothing is promised: a
// lost one costs a check-back and at most a duplicate delivery. At most 100,000
// transactions wait; further ones are not noted. Unknown is ignored. Settle
// does not wait for the network.
func (b *Broker) Settle(group, txID string, r holdfast.Resolution) { b.ops.Add(group, txID, r) }

// Flush waits until the op records of everything settled before are confirmed,
// or until ctx is done, whose error it then returns.
func (b *Broker) Flush(ctx context.Context) error { return b.ops.Flush(ctx) }
