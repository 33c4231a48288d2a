package main

import (
	"context"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// expressDelivered is express, measured from end to end.
var expressDelivered = competitor{
	name: "express-delivered",
	about: "as express, counted at its consumer: an operation ends when the consumer has the message; " +
		"at most 1,000 messages are under way",
	most: slowMost,
	open: lazily(func(ctx context.Context, s *servers) (*entry, error) {
		d := sender{name: "express-delivered", options: expressOptions}
		topic, err := s.topic(ctx, d.name)
		if err != nil {
			return nil, err
		}
		w, err := d.worker(s)
		if err != nil {
			return nil, err
		}
		a := newArrivals()
		w.Consume(worker.Consumer{Name: d.name, Topics: []string{topic}, Prefetch: drainPrefetch,
			HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
				a.arrived(m.Key)
				return nil
			}})
		stop, err := runWorker(ctx, w)
		if err != nil {
			return nil, err
		}
		return &entry{
			drive: a.drive(func(ctx context.Context, number string) error {
				return d.send(ctx, w, newMessageFor(topic, number), nothing)
			}),
			settle: func(ctx context.Context) error { return d.settle(ctx, s) },
			close:  stop,
		}, nil
	}),
}
