package activities

import (
	"context"

	holdfast "github.com/holdfastmq/holdfast"
)

// HalfStore stores half messages in the broker.
type HalfStore interface {
	// PublishHalves tells done of each of hs, whose context is that of its place: nil once the broker
	// has confirmed it. It returns when all has been told, which may be by several goroutines at
	// a time.
	PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error))
}

// Databases knows which database this process would run a local transaction in.
type Databases interface {
	// Database returns the identity of that database; empty where outcome rows do not
	// answer for the topic, or the process has none.
	Database(tx Tx) string
}

// Publisher delivers committed messages to the topics.
type Publisher interface {
	// PublishMessages returns nil once the broker has confirmed all of ms. An
	// error that wraps holdfast.ErrUnroutable names the topic without consumer.
	PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error
}

// OpLog writes op records, by which the half queue forgets half messages.
type OpLog interface {
	// Settle says that txID is decided and, for Commit, delivered. It does not
	// wait: a lost op record costs a hand-over that finds nothing to do.
	Settle(group, txID string, r holdfast.Resolution)
}

// Locals runs local transactions in this process.
type Locals interface {
	// RunLocal runs the local transaction of tx, or returns the answer of its
	// first run.
	RunLocal(ctx context.Context, group string, tx Tx) LocalResult
}

// Truth knows what became of a local transaction: outcome rows or a Checker.
type Truth interface {
	// CheckBack asks; whatever goes wrong is Unknown, with the reason.
	CheckBack(ctx context.Context, group string, tx Tx) LocalResult
	// CheckBackAll asks about many at once, in one round trip where that can be
	// done, and answers in their order. One that is locked holds up no other.
	CheckBackAll(ctx context.Context, group string, txs []Tx) []LocalResult
	// Decide makes r the truth unless the contrary is already. An error that
	// wraps holdfast.ErrAlreadyResolved says that it is.
	Decide(ctx context.Context, group string, tx Tx, r holdfast.Resolution, force bool) (LocalResult, error)
}
