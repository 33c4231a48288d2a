package main

import (
	"context"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// limit is what every solution has to do at least.
var limit = competitor{
	name:  "limit",
	about: "no coordination: half message published, database transaction with one insert, message published; through the broker package, no op records, no outcome rows",
	open: func(ctx context.Context, s *servers) (*entry, error) {
		topic, err := s.topic(ctx, "limit")
		if err != nil {
			return nil, err
		}
		if err := s.broker.DeclareGroup(ctx, "limit"); err != nil {
			return nil, err
		}
		return &entry{
			drive: closedLoop(func(ctx context.Context) error {
				id, ms := newTransaction(topic)
				if err := s.broker.PublishHalf(ctx, holdfast.Half{TxID: id, Group: "limit", Messages: ms, At: time.Now()}); err != nil {
					return err
				}
				if err := insertAlone(ctx, s.db, ms[0].Key); err != nil {
					return err
				}
				return s.broker.PublishMessages(ctx, "limit", id, ms)
			}),
			settle: func(context.Context) error {
				return s.purge(s.broker.HalfQueue("limit"), s.broker.ConsumerQueue("limit"))
			},
		}, nil
	},
}
