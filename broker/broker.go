package broker

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/deadletters"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/pauses"
	"github.com/holdfastmq/holdfast/broker/internal/peers"
	"github.com/holdfastmq/holdfast/broker/internal/sagacalls"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// names are the names of exchanges and queues, as methods of Broker.
type names = wire.Names

// Broker is RabbitMQ as Holdfast uses it. Its methods may be called from many
// goroutines.
type Broker struct {
	names
	o Options
	// c is what the parts of the package share.
	c      *link.Client
	topo   *topology.Maker
	ops    *link.OpWriter
	halves *link.HalfWriter
	board  *peers.Board
	busy   busyConsumers
	// waiting is for ParticipantWait.
	waiting *peers.Participants
	// memory is of the consumers of all processes.
	memory *topology.Memory
	partly *link.Partly

	paused *pauses.Reader
	pauses *pauses.Writer
	checks *peers.CheckBacks
	calls  *sagacalls.Calls

	lookForQueues time.Duration     // of KeepGroup; tests shorten it
	patience      consumer.Patience // of consumers; tests shorten it
	holds         deadletters.Holds // of ConsumeDead; tests shorten them
	alertsAgain   time.Duration     // of ConsumeAlerts; tests shorten it

	cancel context.CancelFunc // ends what is to run no longer than the Broker
	done   chan struct{}      // closed when Close is through
}

// Open connects to RabbitMQ once; afterwards lost connections are made again
// for ever. An error wraps [holdfast.ErrInvalid] or is a
// *[holdfast.UnavailableError] that says what to do.
func Open(ctx context.Context, o Options) (*Broker, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := o.find(); err != nil {
		return nil, err
	}
	o.signs = link.NewSignatures(o.Signer, o.Signing, o.names(), o.Logger)
	b := &Broker{names: o.names(), o: o, c: o.client(), done: make(chan struct{})}
	b.c.Run, b.cancel = context.WithCancel(context.Background())
	b.memory = topology.NewMemory()
	b.partly = link.NewPartly()
	process := uuid.NewString()
	b.topo = topology.New(b.c, b.memory, topology.Options{Process: process, NoDeclare: o.NoDeclare,
		Emptied: b.partly.Forget, OnRemade: o.OnRemade})
	b.board, b.waiting = peers.NewBoard(b.c, b.topo, b.memory, process), peers.NewParticipants()
	b.checks = peers.NewCheckBacks(b.c, b.topo)
	b.paused, b.pauses = pauses.NewReader(b.c, b.topo), pauses.NewWriter(b.c, b.topo)
	b.calls = sagacalls.New(b.c, b.topo)
	b.c.Publishing = link.NewConnection("publish", o.link(), b.topo.Restore)
	if o.OnRefused != nil {
		b.c.Publishing.OnLost = func(err error) {
			o.OnRefused(link.Refusal{Why: link.LostConnection, Reason: err.Error()})
		}
	}
	b.c.Consuming = link.NewConnection("consume", o.link(), b.topo.Restore)
	b.c.Subs = &link.Subscriber{Connection: b.c.Consuming, Calls: b.c.Calls, Doubt: b.topo.Ledger.Doubt}
	if err := b.c.Consuming.Start(ctx); err != nil {
		b.cancel()
		return nil, err
	}
	if err := b.c.Publishing.Start(ctx); err != nil {
		b.cancel()
		b.c.Consuming.Stop(ctx)
		return nil, err
	}
	b.c.Pub = link.NewPublisher(b.c.Run, b.c.Publishing, b.topo, &b.topo.Epoch, o.link())
	b.ops = link.NewOpWriter(b.c.Run, b.c.Pub, o.link())
	b.halves = link.NewHalfWriter(b.c.Run, b.c.Pub, o.link())
	return b, nil
}

// Close writes what [Broker.Settle] still holds, waits for its confirms until
// ctx is done, and closes the connections. End Consume and Keep first, by their
// contexts. Publishes that still wait end with an error. A second Close waits
// for the first. The error is that of ctx, if it ended the wait for op records;
// what is lost then costs check-backs, no message.
func (b *Broker) Close(ctx context.Context) error {
	if !b.c.Calls.Close() {
		<-b.done
		return nil
	}
	err := b.ops.Stop(ctx)
	if e := b.c.Pub.Stop(ctx); err == nil {
		err = e
	}
	b.cancel()
	b.c.Publishing.Stop(ctx)
	b.c.Consuming.Stop(ctx)
	b.c.Pub.Wait()
	b.ops.Wait()
	b.halves.Wait()
	b.c.Calls.Wait()
	close(b.done)
	return err
}
