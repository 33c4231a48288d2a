package holdfasttest

import (
	"context"
	"errors"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
)

// transaction are the ports of one transaction's steps.
type transaction struct {
	k         *Kit
	local     worker.LocalAll
	dead      bool  // the process that holds local
	err       error // of local
	published []holdfast.Message
	asked     int // check-backs
}

// PublishHalf stores the half message.
func (p *transaction) PublishHalf(ctx context.Context, h holdfast.Half) error {
	if p.k.breaks(BeforeHalf) {
		return errBroken
	}
	return p.k.broker.PublishHalf(ctx, h)
}

// RunLocal runs the local transaction, where its process lives.
func (p *transaction) RunLocal(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	if p.dead || p.k.breaks(AfterHalf) {
		p.dead = true
		return activities.LocalResult{ID: tx.ID, Elsewhere: true,
			Error: "the process that held the local transaction is gone"}
	}
	res := barrier.Run(ctx, p.k.o.DB, barrier.Local{TxID: tx.ID, Group: group, Messages: tx.Messages, Fresh: true},
		func(ctx context.Context, db *gorm.DB, ms []*holdfast.Message) error {
			if err := p.local(ctx, db, ms); err != nil {
				return err
			}
			if p.k.breaks(BeforeCommit) {
				p.dead = true
				return errBroken
			}
			return nil
		})
	if p.dead || res.Resolution == holdfast.Commit && p.k.breaks(AfterCommit) {
		p.dead = true
		return activities.LocalResult{ID: tx.ID, Error: "the process died in the local transaction"}
	}
	out := activities.LocalResult{ID: tx.ID, Resolution: res.Resolution}
	if res.Changed {
		out.Messages = res.Messages
	}
	if p.err = res.Err; res.Err != nil {
		out.Error = res.Err.Error()
	}
	return out
}

// PublishMessages delivers the messages.
func (p *transaction) PublishMessages(ctx context.Context, _, txID string, ms []holdfast.Message) error {
	if err := p.k.publish(ctx, txID, ms); err != nil {
		return err
	}
	p.published = holdfast.CloneMessages(ms)
	if p.k.breaks(AfterPublish) {
		return errBroken
	}
	return nil
}

// CheckBackAll asks about each.
func (p *transaction) CheckBackAll(ctx context.Context, group string, txs []activities.Tx) []activities.LocalResult {
	out := make([]activities.LocalResult, len(txs))
	for i, tx := range txs {
		out[i] = p.CheckBack(ctx, group, tx)
	}
	return out
}

// CheckBack asks the outcome row.
func (p *transaction) CheckBack(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	p.asked++
	out := activities.LocalResult{ID: tx.ID}
	row, err := barrier.CheckBack(ctx, p.k.o.DB, tx.ID, group, 0)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Resolution, out.Messages = row.Resolution, row.Messages
	return out
}

// Decide is for operators, who are not played.
func (p *transaction) Decide(context.Context, string, activities.Tx,
	holdfast.Resolution, bool) (activities.LocalResult, error) {
	return activities.LocalResult{}, errors.ErrUnsupported
}
