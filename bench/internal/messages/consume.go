package messages

import (
	"context"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// Backlogs that take a second or more.
const (
	consumeBacklog   = 40_000
	consumeDBBacklog = 10_000
)

// Consume is a consumer without a database, as an application has it.
var Consume = contest.Competitor{
	Name: "consume",
	About: "a worker's consumer (HandleAtLeastOnce) whose handler does nothing, 16 at a time, prefetch 64: " +
		"a backlog of 40,000 messages",
	Callers: ConsumeCallers,
	Turns:   drainTurns,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openDrain(ctx, s, "consume", measure.Drain{Messages: consumeBacklog, WarmUp: consumeBacklog / 10,
			Consume: func(ctx context.Context, callers int, t *measure.Tally) error {
				return s.RunConsumer(ctx, worker.Consumer{Name: "consume", Concurrency: callers,
					HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return t.Work(measure.Nothing) }})
			}})
	},
}

// ConsumeDB is a consumer that writes to its database, once per message.
var ConsumeDB = contest.Competitor{
	Name: "consume-db",
	About: "a worker's consumer (Handle): a transaction with the inbox row and one insert, 16 at a time, prefetch 64: " +
		"a backlog of 10,000 messages",
	Callers: ConsumeCallers,
	Turns:   drainTurns,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openDrain(ctx, s, "consume-db", measure.Drain{Messages: consumeDBBacklog, WarmUp: consumeDBBacklog / 10,
			Consume: func(ctx context.Context, callers int, t *measure.Tally) error {
				return s.RunConsumer(ctx, worker.Consumer{Name: "consume-db", Concurrency: callers,
					Handle: func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
						return t.Work(func() error { return orders.Insert(tx, m.Key) })
					}})
			}})
	},
}

// The backlog of a slow handler would ideally take BacklogCallers messages every
// Slowness.
const (
	backlogMessages = 2_000
	BacklogCallers  = 32                    // handlers at a time
	Slowness        = 50 * time.Millisecond // of each
)

// Backlog is a consumer that has fallen behind because its handler is slow.
var Backlog = contest.Competitor{
	Name: "backlog",
	About: "a worker's consumer (HandleAtLeastOnce) whose handler takes 50 ms, 32 at a time, prefetch 64: " +
		"a backlog of 2,000 messages",
	Callers: []int{BacklogCallers},
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openDrain(ctx, s, "backlog", measure.Drain{Messages: backlogMessages,
			Consume: func(ctx context.Context, callers int, t *measure.Tally) error {
				return s.RunConsumer(ctx, worker.Consumer{Name: "backlog", Concurrency: callers,
					HandleAtLeastOnce: func(ctx context.Context, _ holdfast.Message) error {
						return t.Work(func() error { return measure.Pause(ctx, Slowness) })
					}})
			}})
	},
}
