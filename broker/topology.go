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

// topologyOptions say what a topology may make, and whom it tells.
type topologyOptions struct {
	// Process is the ID of this process, which names its mark.
	Process string
	// NoDeclare has nothing made that is there for longer than this process.
	NoDeclare bool
	// Emptied is called where RabbitMQ has lost what it had confirmed, before OnRemade.
	Emptied func()
	// OnRemade, if not nil, is told of queues that were made again.
	OnRemade func(remade)
}

// topology knows what has to exist, and makes it.
type topology struct {
	c      *link.Client
	o      topologyOptions
	memory *memory

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

// newTopology knows of nothing that has to exist yet. c needs no connections before the
// first declaration.
func newTopology(c *link.Client, m *memory, o topologyOptions) *topology {
	t := &topology{c: c, memory: m, o: o, groups: map[string]bool{}, consumers: map[string]wire.Bindings{},
		delays: map[time.Duration]bool{}, replies: map[string]bool{}, held: map[string]bool{},
		stale: map[string]bool{}, unprotected: map[string]bool{}, losses: map[string]uint64{}, ledger: newLedger(),
		late: declareTimeout, heldFor: heldFor, remaking: make(chan struct{}, 1), repairing: make(chan struct{}, 1)}
	t.remaking <- struct{}{}
	t.repairing <- struct{}{}
	return t
}

// declareGroup makes the half queues of a producer group, and what every group needs.
func (t *topology) declareGroup(ctx context.Context, group string) error {
	if err := wire.ValidGroup(group); err != nil {
		return err
	}
	own := t.groupSteps(group)
	if t.hasGroup(group) {
		t.lookAgain(ctx, t.c.HalfQueues(group)...)
		t.ledger.forget(own)
	}
	if err := t.declare(ctx, t.baseSteps(), own); err != nil {
		return err
	}
	t.mu.Lock()
	t.groups[group] = true
	t.mu.Unlock()
	return t.leaveMark(ctx)
}

// declareNamed is declareConsumer where somebody asks for it: the queue may be gone.
func (t *topology) declareNamed(ctx context.Context, name string, to wire.Bindings) error {
	if t.hasConsumer(name) {
		t.ledger.doubt(t.c.ConsumerQueue(name))
	}
	return t.declareConsumer(ctx, name, to, consumer.KnownDelays(nil))
}

// declareConsumer makes the queues of a consumer, binds them, and makes the delay queues
// that it needs.
func (t *topology) declareConsumer(ctx context.Context, name string, to wire.Bindings, delays []time.Duration) error {
	if err := wire.ValidConsumer(name, to.Topics); err != nil {
		return err
	}
	own := t.consumerSteps(name, to)
	queues := []string{t.c.ConsumerQueue(name), t.c.AloneQueue(name)}
	if t.hasConsumer(name) && t.ledger.doubted(queues...) {
		t.lookAgain(ctx, queues...)
		t.ledger.forget(own)
	}
	if err := t.declare(ctx, t.baseSteps(), t.exitSteps(), own, t.delaySteps(delays)); err != nil {
		return err
	}
	t.ledger.sure(queues...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.consumers[name] = wire.Bindings{Topics: slices.Clone(to.Topics), Notices: slices.Clone(to.Notices)}
	for _, d := range delays {
		t.delays[d] = true
	}
	return nil
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
		t.c.Log.Error("queues could not be declared after connecting to RabbitMQ", "error", err)
	}
	if cutOff(ctx, conn) || errors.Is(err, errUnlooked) {
		return err
	}
	if len(steps) > 0 {
		t.c.Log.Debug("what this process needs in RabbitMQ was looked for", "objects", len(steps), "took",
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
	conn, err := t.c.Consuming.Get(ctx)
	if err != nil {
		return err
	}
	steps := t.all()
	if len(steps) == 0 {
		steps = t.baseSteps()
	}
	t.c.Log.Warn("an exchange or queue is missing in RabbitMQ: declaring everything again")
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
func (t *topology) BoundTo(topic string) []wire.Bound { return t.memory.wants(topic) }

// ChangedSince reports whether a repair ran at or after the given epoch.
func (t *topology) ChangedSince(epoch uint64) bool {
	return epoch%2 == 1 || t.epoch.Load() != epoch
}
