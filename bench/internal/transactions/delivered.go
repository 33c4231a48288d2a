package transactions

import (
	"context"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// ExpressDelivered is express, measured from end to end.
var ExpressDelivered = contest.Competitor{
	Name: "express-delivered",
	About: "as express, counted at its consumer: an operation ends when the consumer has the message; " +
		"at most 1,000 messages are under way",
	Most: contest.SlowMost,
	Open: contest.Lazily(func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		d := sender{name: "express-delivered", options: expressOptions}
		topic, err := s.Topic(ctx, d.name)
		if err != nil {
			return nil, err
		}
		w, err := d.worker(s)
		if err != nil {
			return nil, err
		}
		a := measure.NewArrivals()
		w.Consume(worker.Consumer{Name: d.name, Topics: []string{topic}, Prefetch: servers.Prefetch,
			HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
				a.Arrived(m.Key)
				return nil
			}})
		stop, err := servers.RunWorker(ctx, w)
		if err != nil {
			return nil, err
		}
		return &contest.Entry{
			Drive: a.Drive(func(ctx context.Context, number string) error {
				return d.send(ctx, w, orders.NewMessageFor(topic, number), measure.Nothing)
			}),
			Settle: func(ctx context.Context) error { return d.settle(ctx, s) },
			Close:  stop,
		}, nil
	}),
}
