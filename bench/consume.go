package main

import (
	"context"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// Backlogs that take a second or more.
const (
	consumeBacklog   = 40_000
	consumeDBBacklog = 10_000
)

// consume is a consumer without a database, as an application has it.
var consume = competitor{
	name: "consume",
	about: "a worker's consumer (HandleAtLeastOnce) whose handler does nothing, 16 at a time, prefetch 64: " +
		"a backlog of 40,000 messages",
	callers: consumeCallers,
	turns:   drainTurns,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		return openDrain(ctx, s, "consume", drain{messages: consumeBacklog, warmUp: consumeBacklog / 10,
			consume: func(ctx context.Context, callers int, t *tally) error {
				return s.runConsumer(ctx, worker.Consumer{Name: "consume", Concurrency: callers,
					HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return t.work(nothing) }})
			}})
	},
}

// consumeDB is a consumer that writes to its database, once per message.
var consumeDB = competitor{
	name: "consume-db",
	about: "a worker's consumer (Handle): a transaction with the inbox row and one insert, 16 at a time, prefetch 64: " +
		"a backlog of 10,000 messages",
	callers: consumeCallers,
	turns:   drainTurns,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		return openDrain(ctx, s, "consume-db", drain{messages: consumeDBBacklog, warmUp: consumeDBBacklog / 10,
			consume: func(ctx context.Context, callers int, t *tally) error {
				return s.runConsumer(ctx, worker.Consumer{Name: "consume-db", Concurrency: callers,
					Handle: func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
						return t.work(func() error { return insert(tx, m.Key) })
					}})
			}})
	},
}

// What the backlog of a slow handler would ideally take: backlogCallers messages
// every slowness.
const (
	backlogMessages = 2_000
	backlogCallers  = 32
	slowness        = 50 * time.Millisecond
)

// backlog is a consumer that has fallen behind because its handler is slow.
var backlog = competitor{
	name: "backlog",
	about: "a worker's consumer (HandleAtLeastOnce) whose handler takes 50 ms, 32 at a time, prefetch 64: " +
		"a backlog of 2,000 messages",
	callers: []int{backlogCallers},
	open: func(ctx context.Context, s *servers) (*entry, error) {
		return openDrain(ctx, s, "backlog", drain{messages: backlogMessages,
			consume: func(ctx context.Context, callers int, t *tally) error {
				return s.runConsumer(ctx, worker.Consumer{Name: "backlog", Concurrency: callers,
					HandleAtLeastOnce: func(ctx context.Context, _ holdfast.Message) error {
						return t.work(func() error { return pause(ctx, slowness) })
					}})
			}})
	},
}
