package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// DeclareGroup makes the half queues of a producer group, and what every group
// needs: the topics exchange and the queue of dead letters. What exists already
// is left as it is; if it exists with other arguments, the error says how to
// migrate. It is remembered, and made again when RabbitMQ comes back without it.
func (b *Broker) DeclareGroup(ctx context.Context, group string) error {
	if err := wire.ValidGroup(group); err != nil {
		return err
	}
	own := b.topo.groupSteps(group)
	if b.topo.hasGroup(group) {
		b.lookAgain(ctx, b.HalfQueues(group)...)
		b.topo.ledger.forget(own)
	}
	if err := b.declare(ctx, b.topo.baseSteps(), own); err != nil {
		return err
	}
	b.topo.mu.Lock()
	b.topo.groups[group] = true
	b.topo.mu.Unlock()
	return b.leaveMark(ctx)
}

// DeclareConsumer makes the queue of a consumer, binds it to topics, in which *
// stands for one word and # for any number of words, and makes the delay queues of
// the default ladder. It is remembered like a group.
//
// A topic that was bound before and is no longer listed stays bound: AMQP
// cannot list bindings. Remove it in the management UI.
//
// notices are the topics whose compensation notices it gets.
func (b *Broker) DeclareConsumer(ctx context.Context, name string, topics []string, notices ...string) error {
	if b.topo.hasConsumer(name) {
		b.topo.ledger.doubt(b.ConsumerQueue(name))
	}
	return b.declareConsumer(ctx, name, wire.Bindings{Topics: topics, Notices: notices}, consumer.KnownDelays(nil))
}

func (b *Broker) declareConsumer(ctx context.Context, name string, to wire.Bindings, delays []time.Duration) error {
	if err := wire.ValidConsumer(name, to.Topics); err != nil {
		return err
	}
	own := b.topo.consumerSteps(name, to)
	queues := []string{b.ConsumerQueue(name), b.AloneQueue(name)}
	if b.topo.hasConsumer(name) && b.topo.ledger.doubted(queues...) {
		b.lookAgain(ctx, queues...)
		b.topo.ledger.forget(own)
	}
	if err := b.declare(ctx, b.topo.baseSteps(), b.topo.exitSteps(), own, b.topo.delaySteps(delays)); err != nil {
		return err
	}
	b.topo.ledger.sure(queues...)
	b.topo.mu.Lock()
	defer b.topo.mu.Unlock()
	b.topo.consumers[name] = wire.Bindings{Topics: slices.Clone(to.Topics), Notices: slices.Clone(to.Notices)}
	for _, d := range delays {
		b.topo.delays[d] = true
	}
	return nil
}

// topology knows what has to exist, and makes it.
type topology struct {
	b *Broker

	mu        sync.Mutex
	groups    map[string]bool
	consumers map[string]wire.Bindings
	delays    map[time.Duration]bool // of all consumers
	replies   map[string]bool        // groups whose replies are consumed here
	held      map[string]bool        // consumers for which messages are held

	unprotected map[string]bool   // queues that were made without what protects them
	mark        string            // the name of this process's mark, "" if it has none
	losses      map[string]uint64 // how often each queue was found missing
	stale       map[string]bool   // consumers that were told not to be made again
	sought      time.Time         // when a returned message last had queues looked for

	ledger    *ledger
	late      time.Duration // declareTimeout
	heldFor   time.Duration // the constant; tests change it
	written   atomic.Uint64 // declarations
	remaking  chan struct{} // a token: one remake at a time
	repairing chan struct{} // a token: one repair at a time
	// unrepaired is the era of the ledger in which a repair was cut off, or 0; whoever
	// has the token may use it.
	unrepaired uint64
	repairs    uint64        // successful ones; guarded by mu
	epoch      atomic.Uint64 // counts beginnings and ends of repairs: odd while one runs
}

func newTopology(b *Broker) *topology {
	t := &topology{b: b, groups: map[string]bool{}, consumers: map[string]wire.Bindings{},
		delays: map[time.Duration]bool{}, replies: map[string]bool{}, held: map[string]bool{},
		stale: map[string]bool{}, unprotected: map[string]bool{}, losses: map[string]uint64{}, ledger: newLedger(),
		late: declareTimeout, heldFor: heldFor, remaking: make(chan struct{}, 1), repairing: make(chan struct{}, 1)}
	t.remaking <- struct{}{}
	t.repairing <- struct{}{}
	return t
}

// restore makes everything remembered on a new connection, unless another connection
// of this process shows that RabbitMQ was there all the time. The error says that it
// was cut off: nothing may be published over this connection then.
func (t *topology) restore(ctx context.Context, conn *amqp.Connection) error {
	release, err := t.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if t.witnessed(ctx) {
		t.ledger.attest(conn, false)
		return nil
	}
	t.ledger.begin()
	began := time.Now()
	steps := t.all()
	err = t.remakeNow(ctx, conn, steps, false)
	if err != nil {
		t.b.c.Log.Error("queues could not be declared after connecting to RabbitMQ", "error", err)
	}
	if cutOff(ctx, conn) || errors.Is(err, errUnlooked) {
		return err
	}
	if len(steps) > 0 {
		t.b.c.Log.Debug("what this process needs in RabbitMQ was looked for", "objects", len(steps), "took",
			time.Since(began))
	}
	t.ledger.attest(conn, true)
	return nil
}

// remakePause is how long a queue that was just found missing stays so. A quorum
// queue that is deleted and made again before RabbitMQ has told its consumers of
// that keeps them, and delivers nothing to them.
const remakePause = 300 * time.Millisecond

// Repair makes everything remembered again because something turned out to be
// missing. Callers that come while one repair runs share its result.
func (t *topology) Repair(ctx context.Context) error {
	t.mu.Lock()
	seen := t.repairs
	t.mu.Unlock()
	select {
	case <-t.repairing:
		defer func() { t.repairing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	t.mu.Lock()
	shared := t.repairs > seen
	t.mu.Unlock()
	if shared {
		return nil
	}
	if !link.Sleep(ctx, remakePause) {
		return ctx.Err()
	}
	conn, err := t.b.c.Consuming.Get(ctx)
	if err != nil {
		return err
	}
	steps := t.all()
	if len(steps) == 0 {
		steps = t.baseSteps()
	}
	t.b.c.Log.Warn("an exchange or queue is missing in RabbitMQ: declaring everything again")
	t.epoch.Add(1)
	if t.unrepaired != t.ledger.now() { // otherwise the last one was cut off, and this one goes on
		t.unrepaired = t.ledger.begin()
	}
	err = t.remake(ctx, conn, steps)
	t.epoch.Add(1)
	if !cutOff(ctx, conn) && !errors.Is(err, errLate) {
		t.unrepaired = 0
	}
	if err == nil {
		t.mu.Lock()
		t.repairs++
		t.mu.Unlock()
	}
	return err
}

// BoundTo are the remembered consumers that messages of a topic are for.
func (t *topology) BoundTo(topic string) []wire.Bound { return t.b.memory.wants(topic) }

// ChangedSince reports whether a repair ran at or after the given epoch.
func (t *topology) ChangedSince(epoch uint64) bool {
	return epoch%2 == 1 || t.epoch.Load() != epoch
}
