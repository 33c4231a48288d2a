// Package transactions has the competitors that send transactional messages: the
// limit (no coordination), the Express and Traced lanes, cohorts, an empty workflow,
// the usual way with Temporal, Watermill's outbox, and what a dead producer leaves
// undecided.
package transactions

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// Limit is what every solution has to do at least.
var Limit = contest.Competitor{
	Name: "limit",
	About: "no coordination: half message published, database transaction with one insert, message published; " +
		"through the broker package, no op records, no outcome rows, no Keeper, no consumer",
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openLimit(ctx, s, "limit", orders.BodySize, orders.InsertAlone)
	},
}

// LimitConsumed is the limit with the consumer that express has: how much of the
// difference between the two is the consumer.
var LimitConsumed = consumedLimit("limit-consumed", "", orders.InsertAlone)

// LimitOutcome is that with the outcome row, without which no check-back can know
// what became of a local transaction: what is left of the difference is the Keeper,
// the op records and the worker.
var LimitOutcome = consumedLimit("limit-outcome",
	", and the local transaction inserts the outcome row, too, through barrier.Run",
	func(ctx context.Context, db *gorm.DB, number string) error {
		return barrier.Run(ctx, db, barrier.Local{TxID: number, Group: "limit-outcome", Fresh: true},
			func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error { return orders.Insert(tx, number) }).Err
	})

// localWork is the local transaction of an order.
type localWork func(ctx context.Context, db *gorm.DB, number string) error

// consumedLimit is the limit with a consumer; more says what else is different.
func consumedLimit(name, more string, local localWork) contest.Competitor {
	return contest.Competitor{
		Name: name,
		About: "as limit, and a worker's consumer (HandleAtLeastOnce) that does nothing takes the messages meanwhile, " +
			"as for express" + more,
		Callers: []int{64, 256},
		Open: contest.Lazily(func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
			e, err := openLimit(ctx, s, name, orders.BodySize, local)
			if err != nil {
				return nil, err
			}
			consuming, cancel := context.WithCancel(context.WithoutCancel(ctx))
			ended := make(chan error, 1)
			go func() {
				ended <- s.RunConsumer(consuming, worker.Consumer{Name: name,
					HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
			}()
			purge := e.Settle
			e.Settle = func(ctx context.Context) error {
				return errors.Join(s.AwaitEmpty(ctx, s.Broker.ConsumerQueue(name)), purge(ctx))
			}
			e.Close = func() {
				cancel()
				<-ended
			}
			return e, nil
		}),
	}
}

// openLimit makes an entry of the least work, with bodies of a size.
func openLimit(ctx context.Context, s *servers.Servers, name string,
	body int, local localWork) (*contest.Entry, error) {
	topic, err := s.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.Broker.DeclareGroup(ctx, name); err != nil {
		return nil, err
	}
	return &contest.Entry{
		Drive: measure.ClosedLoop(func(ctx context.Context) error {
			id, ms := orders.NewTransactionOf(topic, body)
			if err := s.Broker.PublishHalf(ctx, holdfast.Half{TxID: id, Group: name, Messages: ms, At: time.Now()}); err != nil {
				return err
			}
			if err := local(ctx, s.DB, ms[0].Key); err != nil {
				return err
			}
			return s.Broker.PublishMessages(ctx, name, id, ms)
		}),
		Settle: func(context.Context) error {
			return s.Purge(s.Broker.HalfQueue(name), s.Broker.ConsumerQueue(name))
		},
	}, nil
}
