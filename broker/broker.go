package broker

import (
	"context"
	"log/slog"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// names are the names of exchanges and queues, as methods of Broker.
type names = wire.Names

// Broker is RabbitMQ as Holdfast uses it. Its methods may be called from many
// goroutines.
type Broker struct {
	names
	o     Options
	log   *slog.Logger
	topo  *topology
	pub   *link.Publisher
	ops   *link.OpWriter
	board *board
	// waiting is for ParticipantWait.
	waiting *waitAsking
	// memory is of the consumers of all processes.
	memory *memory
	partly *link.Partly

	checks     *checkAsker
	replyNames *replyNames

	pubLink  *link.Connection
	consLink *link.Connection
	subs     *link.Subscriber

	run    context.Context // done once Close begins to tear down
	cancel context.CancelFunc

	done  chan struct{} // closed when Close is through
	calls *link.Calls
}

// Open connects to RabbitMQ once; afterwards lost connections are made again
// for ever. An error wraps [holdfast.ErrInvalid] or is a
// *[holdfast.UnavailableError] that says what to do.
func Open(ctx context.Context, o Options) (*Broker, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	b := &Broker{names: o.names(), o: o, log: o.Logger, calls: &link.Calls{}, done: make(chan struct{})}
	b.run, b.cancel = context.WithCancel(context.Background())
	b.topo = newTopology(b)
	b.memory = newMemory()
	b.partly = link.NewPartly()
	b.board, b.waiting = newBoard(b), newWaitAsking()
	b.checks = newCheckAsker(b)
	b.replyNames = newReplyNames(b)
	b.pubLink = link.NewConnection("publish", o.link(), b.topo.restore)
	if o.OnRefused != nil {
		b.pubLink.OnLost = func(err error) { o.OnRefused(link.Refusal{Why: link.LostConnection, Reason: err.Error()}) }
	}
	b.consLink = link.NewConnection("consume", o.link(), b.topo.restore)
	b.subs = &link.Subscriber{Connection: b.consLink, Calls: b.calls, Doubt: b.topo.ledger.doubt}
	if err := b.consLink.Start(ctx); err != nil {
		b.cancel()
		return nil, err
	}
	if err := b.pubLink.Start(ctx); err != nil {
		b.cancel()
		b.consLink.Stop(ctx)
		return nil, err
	}
	b.pub = link.NewPublisher(b.run, b.pubLink, b.topo, &b.topo.epoch, o.link())
	b.ops = link.NewOpWriter(b.run, b.pub, o.link())
	return b, nil
}

// Close writes what [Broker.Settle] still holds, waits for its confirms until
// ctx is done, and closes the connections. End Consume and Keep first, by their
// contexts. Publishes that still wait end with an error. A second Close waits
// for the first. The error is that of ctx, if it ended the wait for op records;
// what is lost then costs check-backs, no message.
func (b *Broker) Close(ctx context.Context) error {
	if !b.calls.Close() {
		<-b.done
		return nil
	}
	err := b.ops.Stop(ctx)
	if e := b.pub.Stop(ctx); err == nil {
		err = e
	}
	b.cancel()
	b.pubLink.Stop(ctx)
	b.consLink.Stop(ctx)
	b.pub.Wait()
	b.ops.Wait()
	b.calls.Wait()
	close(b.done)
	return err
}

func (b *Broker) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return link.WithTimeout(ctx, b.o.PublishTimeout)
}
