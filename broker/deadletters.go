package broker

import (
	"context"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/deadletters"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

type (
	// DeadRecord is one record of the queue of dead letters: a dead letter, or what says
	// that a redelivered message was handled.
	DeadRecord = deadletters.Record
	// DeadOptions say how the queue of dead letters is emptied. The zero value of
	// every field but Take means its default.
	DeadOptions = deadletters.Options
	// Expired tells that RabbitMQ took dead letters out of their queue.
	Expired = deadletters.Expired
)

// ConsumeDead empties the queue of dead letters into Take until ctx is done; then
// it takes no further record, gives back those that were not begun, lets running
// calls of Take finish for 10 s, ends their contexts, and returns nil. Any number
// of processes may do so. It goes on by itself after lost connections. An error
// means wrong options, a queue that exists with other arguments, a closed Broker,
// or a Take that ignores its context.
//
// A record that Take refuses is held and tried again; every two minutes it goes
// back to the queue, behind all others. A record is acknowledged only when Take
// returned nil, or when it is stored anew.
func (b *Broker) ConsumeDead(ctx context.Context, o DeadOptions) error {
	return deadletters.Consume(ctx, b.c, b.topo, o, b.holds)
}

// ConsumeExpired puts what RabbitMQ took out of the queue of dead letters back into
// it, until ctx is done, and then returns nil. Any number of processes may do so.
// told is called, now and then, where there was something to put back; it must
// return at once. An error means a queue that exists with other arguments, or a
// closed Broker.
func (b *Broker) ConsumeExpired(ctx context.Context, told func(Expired)) error {
	return deadletters.PutBackExpired(ctx, b.c, b.topo, told)
}

// Unprotected are those of the queues of dead letters that an older version of
// Holdfast has made, so that what a policy takes out of them is lost.
func (b *Broker) Unprotected(ctx context.Context) ([]string, error) {
	return b.topo.UnprotectedQueues(ctx)
}

// Postpone puts a record off for 10 s and returns once RabbitMQ has confirmed
// that: it then comes again, with Late set. So somebody can act on it at once,
// and still be told if that is lost.
func (b *Broker) Postpone(ctx context.Context, h wire.HandledRecord) error {
	return deadletters.Postpone(ctx, b.c, h)
}

// Redeliver puts a dead letter back into the queue that it died in, and into no
// other, and returns once RabbitMQ has confirmed it; like every publish it may be
// stored twice. The consumer gets the message as it was, with the number of the
// redelivery.
//
// [holdfast.ErrUnroutable] means that the queue is not there. A letter that was
// not whole ([holdfast.ErrTooLarge]) and one that no redelivery can help
// ([holdfast.ErrInvalid]) are refused, with errors marked by
// [holdfast.Permanent]. Nothing was stored then.
func (b *Broker) Redeliver(ctx context.Context, r wire.RedeliverRequest) error {
	return deadletters.Redeliver(ctx, b.c, r)
}

// HalfOf reads the half message that a dead letter is: RabbitMQ dropped it from a
// half queue, or it could not be read there.
func (b *Broker) HalfOf(d holdfast.DeadLetter) (holdfast.Half, error) {
	return wire.HalfOf(b.o.Prefix, &d, b.o.MaxBody)
}
