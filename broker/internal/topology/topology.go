// Package topology knows which queues and exchanges there have to be in RabbitMQ, makes
// them or looks for them, and makes again what is missing. A Maker does that for one Broker,
// with the connection that never publishes; link asks it about bindings. Each object is a
// Step, and what is listed for an administrator is made of the same Steps. It remembers the
// consumers of all processes (Memory), whose queues it makes again as well.
package topology

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

// Options say what a Maker may make, and whom it tells.
type Options struct {
	// Process is the ID of this process, which names its mark.
	Process string
	// NoDeclare has nothing made that is there for longer than this process.
	NoDeclare bool
	// Emptied is called where RabbitMQ has lost what it had confirmed, before OnRemade.
	Emptied func()
	// OnRemade, if not nil, is told of queues that were made again.
	OnRemade func(Remade)
}

// Maker knows what has to exist, and makes it.
type Maker struct {
	c      *link.Client
	o      Options
	memory *Memory

	mu        sync.Mutex
	groups    map[string]bool
	consumers map[string]wire.Bindings
	delays    map[time.Duration]bool // of all consumers
	replies   map[string]bool        // groups whose replies are consumed here
	held      map[string]bool        // consumers for which messages are held

	unprotected map[string]bool   // queues that were made without what protects them
	mark        string            // the name of this process's mark, "" if it has none
	marked      time.Time         // when it was made or renewed, by the wall clock
	losses      map[string]uint64 // how often each queue was found missing
	stale       map[string]bool   // consumers that were told not to be made again
	sought      time.Time         // when a returned message last had queues looked for

	Ledger    *Ledger       // what is known to be there
	late      time.Duration // declareTimeout
	HeldFor   time.Duration // the constant; tests change it
	MarkHolds time.Duration // the constant; tests change it
	Written   atomic.Uint64 // declarations
	remaking  chan struct{} // a token: one remake at a time
	repairing chan struct{} // a token: one repair at a time
	// unrepaired is the era of the ledger in which a repair was cut off, or 0; whoever
	// has the token may use it.
	unrepaired uint64
	repairs    uint64        // successful ones; guarded by mu
	Epoch      atomic.Uint64 // counts beginnings and ends of repairs: odd while one runs
}

// New knows of nothing that has to exist yet. c needs no connections before the
// first declaration.
func New(c *link.Client, m *Memory, o Options) *Maker {
	t := &Maker{c: c, memory: m, o: o, groups: map[string]bool{}, consumers: map[string]wire.Bindings{},
		delays: map[time.Duration]bool{}, replies: map[string]bool{}, held: map[string]bool{},
		stale: map[string]bool{}, unprotected: map[string]bool{}, losses: map[string]uint64{}, Ledger: newLedger(),
		late: declareTimeout, HeldFor: heldFor, MarkHolds: markHolds, remaking: make(chan struct{}, 1),
		repairing: make(chan struct{}, 1)}
	t.remaking <- struct{}{}
	t.repairing <- struct{}{}
	return t
}

// DeclareGroup makes the half queues of a producer group, and what every group needs.
func (t *Maker) DeclareGroup(ctx context.Context, group string) error {
	if err := wire.ValidGroup(group); err != nil {
		return err
	}
	own := t.groupSteps(group)
	if t.hasGroup(group) {
		t.lookAgain(ctx, t.c.HalfQueues(group)...)
		t.Ledger.Forget(own)
	}
	if err := t.Declare(ctx, t.BaseSteps(), own); err != nil {
		return err
	}
	t.mu.Lock()
	t.groups[group] = true
	t.mu.Unlock()
	return t.leaveMark(ctx)
}

// DeclareNamed is DeclareConsumer where somebody asks for it: the queue may be gone.
func (t *Maker) DeclareNamed(ctx context.Context, name string, to wire.Bindings) error {
	if t.HasConsumer(name) {
		t.Ledger.Doubt(t.c.ConsumerQueue(name))
	}
	return t.DeclareConsumer(ctx, name, to, consumer.KnownDelays(nil))
}

// DeclareConsumer makes the queues of a consumer, binds them, and makes the delay queues
// that it needs.
func (t *Maker) DeclareConsumer(ctx context.Context, name string, to wire.Bindings, delays []time.Duration) error {
	if err := wire.ValidConsumer(name, to.Topics); err != nil {
		return err
	}
	own := t.consumerSteps(name, to)
	queues := []string{t.c.ConsumerQueue(name), t.c.AloneQueue(name)}
	if t.HasConsumer(name) && t.Ledger.Doubted(queues...) {
		t.lookAgain(ctx, queues...)
		t.Ledger.Forget(own)
	}
	if err := t.Declare(ctx, t.BaseSteps(), t.exitSteps(), own, t.delaySteps(delays)); err != nil {
		return err
	}
	t.Ledger.sure(queues...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.consumers[name] = wire.Bindings{Topics: slices.Clone(to.Topics), Notices: slices.Clone(to.Notices)}
	for _, d := range delays {
		t.delays[d] = true
	}
	return nil
}

// Restore makes everything remembered on a new connection, unless another connection
// of this process shows that RabbitMQ was there all the time. The error says that it
// was cut off: nothing may be published over this connection then.
func (t *Maker) Restore(ctx context.Context, conn *amqp.Connection) error {
	release, err := t.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if t.witnessed(ctx) {
		t.Ledger.attest(conn, false)
		return nil
	}
	t.Ledger.begin()
	began := time.Now()
	steps := t.All()
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
	t.Ledger.attest(conn, true)
	return nil
}

// RemakePause is how long a queue that was just found missing stays so. A quorum
// queue that is deleted and made again before RabbitMQ has told its consumers of
// that keeps them, and delivers nothing to them.
const RemakePause = 300 * time.Millisecond

// Repair makes everything remembered again because something turned out to be
// missing. Callers that come while one repair runs share its result.
func (t *Maker) Repair(ctx context.Context) error {
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
	if !link.Sleep(ctx, RemakePause) {
		return ctx.Err()
	}
	conn, err := t.c.Consuming.Get(ctx)
	if err != nil {
		return err
	}
	steps := t.All()
	if len(steps) == 0 {
		steps = t.BaseSteps()
	}
	t.c.Log.Warn("an exchange or queue is missing in RabbitMQ: declaring everything again")
	t.Epoch.Add(1)
	if t.unrepaired != t.Ledger.now() { // otherwise the last one was cut off, and this one goes on
		t.unrepaired = t.Ledger.begin()
	}
	err = t.remake(ctx, conn, steps)
	t.Epoch.Add(1)
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
func (t *Maker) BoundTo(topic string) []wire.Bound { return t.memory.Wants(topic) }

// ChangedSince reports whether a repair ran at or after the given epoch.
func (t *Maker) ChangedSince(epoch uint64) bool {
	return epoch%2 == 1 || t.Epoch.Load() != epoch
}
