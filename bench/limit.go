package main

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
)

// limit is what every solution has to do at least.
var limit = competitor{
	name: "limit",
	about: "no coordination: half message published, database transaction with one insert, message published; " +
		"through the broker package, no op records, no outcome rows, no Keeper, no consumer",
	open: func(ctx context.Context, s *servers) (*entry, error) {
		return openLimit(ctx, s, "limit", bodySize, insertAlone)
	},
}

// limitConsumed is the limit with the consumer that express has: how much of the
// difference between the two is the consumer.
var limitConsumed = consumedLimit("limit-consumed", "", insertAlone)

// limitOutcome is that with the outcome row, without which no check-back can know
// what became of a local transaction: what is left of the difference is the Keeper,
// the op records and the worker.
var limitOutcome = consumedLimit("limit-outcome",
	", and the local transaction inserts the outcome row, too, through barrier.Run",
	func(ctx context.Context, db *gorm.DB, number string) error {
		return barrier.Run(ctx, db, barrier.Local{TxID: number, Group: "limit-outcome", Fresh: true},
			func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error { return insert(tx, number) }).Err
	})

func consumedLimit(name, more string, local func(ctx context.Context, db *gorm.DB, number string) error) competitor {
	return competitor{
		name: name,
		about: "as limit, and a worker's consumer (HandleAtLeastOnce) that does nothing takes the messages meanwhile, " +
			"as for express" + more,
		callers: []int{64, 256},
		open: lazily(func(ctx context.Context, s *servers) (*entry, error) {
			e, err := openLimit(ctx, s, name, bodySize, local)
			if err != nil {
				return nil, err
			}
			consuming, cancel := context.WithCancel(context.WithoutCancel(ctx))
			ended := make(chan error, 1)
			go func() {
				ended <- s.runConsumer(consuming, worker.Consumer{Name: name,
					HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
			}()
			purge := e.settle
			e.settle = func(ctx context.Context) error {
				return errors.Join(s.emptied(ctx, s.broker.ConsumerQueue(name)), purge(ctx))
			}
			e.close = func() {
				cancel()
				<-ended
			}
			return e, nil
		}),
	}
}

// openLimit makes an entry of the least work, with bodies of a size.
func openLimit(ctx context.Context, s *servers, name string,
	body int, local func(ctx context.Context, db *gorm.DB, number string) error) (*entry, error) {
	topic, err := s.topic(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.broker.DeclareGroup(ctx, name); err != nil {
		return nil, err
	}
	return &entry{
		drive: closedLoop(func(ctx context.Context) error {
			id, ms := newTransactionOf(topic, body)
			if err := s.broker.PublishHalf(ctx, holdfast.Half{TxID: id, Group: name, Messages: ms, At: time.Now()}); err != nil {
				return err
			}
			if err := local(ctx, s.db, ms[0].Key); err != nil {
				return err
			}
			return s.broker.PublishMessages(ctx, name, id, ms)
		}),
		settle: func(context.Context) error {
			return s.purge(s.broker.HalfQueue(name), s.broker.ConsumerQueue(name))
		},
	}, nil
}
