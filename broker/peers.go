package broker

import (
	"context"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/peers"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

type (
	// Learning says how consumers are remembered. The zero value keeps them in memory.
	Learning = peers.Learning
	// ParticipantWait says that a participant has calls, or would not take them, and cannot
	// work on them: its database is away, its pool used up, its circuit breaker open.
	ParticipantWait = peers.ParticipantWait
)

// Signs reports whether this Broker signs what it publishes.
func (b *Broker) Signs() bool { return b.c.Signatures != nil }

// Ask asks all processes of this prefix on which a consumer or Keeper runs how
// these are, and collects the answers that come within wait, or until ctx is
// done; 0 means 1 s. Where no process listens it returns at once. How many
// should answer is not known: one that is busy, or that cannot reach RabbitMQ,
// is missing. No answer is no error; an error says that the request could not be
// sent, or that the connection was lost before the time was over, and comes with
// the answers until then. The answers are sorted by instance.
func (b *Broker) Ask(ctx context.Context, wait time.Duration) ([]wire.ProcessStatus, error) {
	return peers.Ask(ctx, b.c, wait, wire.StatusRequest{})
}

// Answers reports whether p is this Broker's own answer to [Broker.Ask].
func (b *Broker) Answers(p wire.ProcessStatus) bool { return p.ID == b.board.ID }

// ShowSagas lets answers tell of the process's sagas until hide is called.
func (b *Broker) ShowSagas(defs []wire.SagaDefinition) (hide func()) { return b.board.ShowSagas(defs) }

// ShowDatabases lets answers tell of the process's databases until hide is called.
// status is called from another goroutine and must return quickly.
func (b *Broker) ShowDatabases(status func() []wire.DatabaseStatus) (hide func()) {
	return b.board.ShowDatabases(status)
}

// ShowTroubles lets answers tell of what is wrong with the process, until hide is
// called.
func (b *Broker) ShowTroubles(troubles func() []wire.Trouble) (hide func()) {
	return b.board.ShowTroubles(troubles)
}

// ShowSender lets answers tell that the process only sends for a group, until hide is
// called.
func (b *Broker) ShowSender(group string) (hide func()) { return b.board.ShowSender(group) }

// ShowNoTemporal lets answers tell that the process goes without Temporal, until hide
// is called.
func (b *Broker) ShowNoTemporal() (hide func()) { return b.board.ShowNoTemporal() }

// Learn asks all processes of the prefix for their consumers, at once, whenever a
// consumer begins somewhere, and every five minutes, and remembers them, until ctx
// is done. Every five minutes it also makes the queues that are missing. Nothing
// waits for it; what fails is logged and tried again. It returns nil.
//
// What a process says of itself counts only as an answer to this question, which
// only those can read who may read the exchange of status requests.
func (b *Broker) Learn(ctx context.Context, o Learning) error { return b.board.Learn(ctx, o) }

// ParticipantWait asks the processes that take topic as a participant whether all of
// them wait. Nil: one does not, or none answers within a second. What a process says of
// itself counts only as an answer to this question, of which it has to know the
// correlation ID: see [Broker.Learn].
func (b *Broker) ParticipantWait(ctx context.Context, topic string) (*ParticipantWait, error) {
	return b.waiting.Waits(ctx, b.c, topic)
}

// CheckRemotely asks the processes that consume the group's check queue what
// became of txs, and answers in their order. It waits for 10 s at most, or until
// ctx is nearly done. Whatever goes wrong with a transaction is its answer's Err.
// Asking again is always safe.
func (b *Broker) CheckRemotely(ctx context.Context, group string, txs []wire.CheckTx) []wire.CheckAnswer {
	return b.checks.Check(ctx, group, txs)
}
