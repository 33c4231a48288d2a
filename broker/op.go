package broker

import (
	"context"

	"github.com/holdfastmq/holdfast"
)

// Settle says that a transaction is done: its messages are published, or it is
// rolled back, so that the Keeper can forget its half message. The op record
// that says so is written later, together with others; nothing is promised: a
// lost one costs a check-back and at most a duplicate delivery. At most 100,000
// transactions wait; further ones are not noted. Unknown is ignored. Settle
// does not wait for the network.
func (b *Broker) Settle(group, txID string, r holdfast.Resolution) { b.ops.Add(group, txID, r) }

// Flush waits until the op records of everything settled before are confirmed,
// or until ctx is done, whose error it then returns.
func (b *Broker) Flush(ctx context.Context) error { return b.ops.Flush(ctx) }
