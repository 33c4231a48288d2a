package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/keeper"
	"github.com/holdfastmq/holdfast/broker/internal/peers"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// KeeperOptions say which half queue is kept and who takes over what stays undecided.
type KeeperOptions = keeper.Options

// KeeperStats are a Keeper's numbers.
type KeeperStats = keeper.Stats

// ErrYield is what HandOver returns where another process of the group can hand over, and
// this one cannot: the Keeper gives its place to the next one in line.
var ErrYield = keeper.ErrYield

func (b *Broker) keeperHost() keeper.Host {
	return keeper.Host{Client: b.c, DeclareGroup: b.DeclareGroup, Losses: b.topo.LossesOf,
		Show: b.board.ShowKeeper, Listen: b.board.Listen, SayAble: b.board.SayAble, LookForQueues: b.lookForQueues}
}

// Keep runs a Keeper for one half queue until ctx is done, then returns nil: it
// holds half messages, forgets those that an op record settles, and hands over
// those that stay undecided. Any number of processes may keep the same group:
// one is active, and another takes its place when it goes. It goes on by itself
// after lost connections; an error means wrong options, a half queue that
// exists with other arguments, or a closed Broker. For a half queue beyond
// Options.HalfQueues it also returns nil once that does not exist (any more).
func (b *Broker) Keep(ctx context.Context, o KeeperOptions) error {
	return keeper.Keep(ctx, b.keeperHost(), o)
}

// KeepGroup runs a Keeper ([Broker.Keep]) for each half queue of o.Group and for
// each further one that exists: one that processes with more of them have made, or
// that was left when their number was lowered. o.Queue must be 0.
func (b *Broker) KeepGroup(ctx context.Context, o KeeperOptions) error {
	return keeper.KeepGroup(ctx, b.keeperHost(), o)
}

// Peek asks like [Broker.Ask]; in the answers, the Keepers of group tell the
// oldest half messages that they hold, n each at most.
func (b *Broker) Peek(ctx context.Context, group string, n int, wait time.Duration) ([]wire.ProcessStatus, error) {
	if err := wire.ValidGroup(group); err != nil {
		return nil, err
	}
	if n < 1 || n > wire.MaxPeek {
		return nil, fmt.Errorf("%w: peek at %d half messages: want 1 to %d", holdfast.ErrInvalid, n, wire.MaxPeek)
	}
	return peers.Ask(ctx, b.c, wait, wire.StatusRequest{Group: group, N: n})
}

// FindHalfQueues returns what HalfQueues does and, behind them, the further half
// queues of the group that exist: those of processes with more of them.
func (b *Broker) FindHalfQueues(ctx context.Context, group string) ([]string, error) {
	return b.c.FindHalfQueues(ctx, group)
}
