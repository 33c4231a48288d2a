package holdfasttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/fakebroker"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/internal/steps"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// Options are what a kit works with. The zero value means its defaults.
type Options struct {
	// DB is the database of local steps and of local transactions, and of the
	// participants and consumers that have none of their own. Nil: [NewDB]. Yours
	// must have Holdfast's tables: see [barrier.Migrate].
	DB *gorm.DB
	// Group is the producer group. Default: "test".
	Group string
	// Lane is the lane of transactions whose messages do not say. Default: Traced.
	Lane holdfast.Lane
	// Middleware and SendMiddleware are as in [worker.Options]: around the handlers of all
	// consumers and participants, and around [Kit.Send].
	Middleware     []worker.Middleware
	SendMiddleware []worker.SendMiddleware
}

// Kit is a producer group, with its participants and consumers, in the memory of
// one test. Its methods are for the test's goroutine, and for the functions that
// the kit calls.
type Kit struct {
	t       testing.TB
	o       Options
	server  *fakebroker.Server
	broker  *fakebroker.Broker
	defs    sagarun.Definitions
	waiters sagarun.Waiters
	names   map[string]bool // of queues
	acts    map[string]any
	// consumes are the names of consumers, undoes what compensates a topic's messages.
	consumes map[string]bool
	undoes   map[string]steps.Compensation
	sent     map[string]bool // the workflows of transactions
	// letters are the dead letters of consumers, seen counts what the server has of
	// all; given are the IDs of messages that no transaction of the kit committed.
	letters []*DeadLetter
	seen    int
	given   map[string]bool

	mu        sync.Mutex
	faults    []*Fault
	hooks     []*hook
	watchers  []watcher
	waiting   []request // of operators, for the next saga
	later     []later
	crash     Point
	delivered []holdfast.Message
	late      int
	ended     map[string]sagas.Status
	contents  map[string]string // of the states that sagas were started with, by ID
	run       *run              // the one under way
}

// New returns a kit with a database of its own.
func New(t testing.TB) *Kit {
	t.Helper()
	return NewWith(t, Options{})
}

// NewWith returns a kit.
func NewWith(t testing.TB, o Options) *Kit {
	t.Helper()
	if o.DB == nil {
		o.DB = NewDB(t)
	}
	if o.Group == "" {
		o.Group = "test"
	}
	if err := errors.Join(holdfast.ValidateName("group", o.Group), o.Lane.Validate()); err != nil {
		t.Fatal(err)
	}
	s := fakebroker.NewServer()
	k := &Kit{t: t, o: o, server: s, broker: s.Open("holdfasttest", "kit"),
		names: map[string]bool{}, acts: map[string]any{}, consumes: map[string]bool{},
		undoes: map[string]steps.Compensation{}, sent: map[string]bool{}, given: map[string]bool{},
		ended: map[string]sagas.Status{}, contents: map[string]string{}}
	k.broker.SubscribeReplies(o.Group, k.reply)
	return k
}

// DB returns the kit's database.
func (k *Kit) DB() *gorm.DB { return k.o.DB }

// Saga registers a definition, and with it the sagas that it has as steps.
// [RunSaga] registers its own.
func (k *Kit) Saga(def saga.Definition) {
	k.t.Helper()
	c, err := def.Compile()
	if err == nil {
		err = k.defs.Add(c)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// Participate adds a participant. Where it has no DB, it is the kit's. Failing
// tries follow each other without pauses.
func (k *Kit) Participate(p worker.Participant) {
	k.t.Helper()
	if p.Name == "" {
		p.Name = p.Topic
	}
	if p.DB == nil {
		p.DB = k.o.DB
	}
	if p.Do == nil || p.Topic == "" || p.Undo != nil && p.UndoTopic == "" {
		k.t.Fatalf("participant %q needs a Topic, a Do and, with an Undo, an UndoTopic", p.Name)
	}
	k.name(p.Name)
	wrap := k.wrapper(p.Middleware)
	run := &sagarun.Participant{Name: p.Name, Topic: p.Topic, UndoTopic: p.UndoTopic,
		DB: p.DB, UndoUncertain: p.UndoUncertain, Replies: replies{k},
		Do: k.wrapped(p.Name, k.participation(p.Do, false), wrap)}
	if p.Undo != nil {
		run.Undo = k.wrapped(p.Name, k.participation(p.Undo, true), wrap)
	}
	topics := []string{p.Topic}
	if p.UndoTopic != "" {
		topics = append(topics, p.UndoTopic)
	}
	ladder := len(p.Ladder)
	if p.Ladder == nil {
		ladder = 3 // as many as a worker's
	}
	k.broker.Subscribe(broker.Subscription{Name: p.Name, Topics: topics,
		Tries: p.Tries, Ladder: make([]time.Duration, ladder), HandlerTimeout: p.Timeout,
		Handle: func(ctx context.Context, d broker.Delivery) error {
			return run.Handle(context.WithValue(ctx, calling{}, d.Saga), d)
		},
		GiveUp: run.GiveUp})
}

// Listen binds topics, with AMQP's wildcards, to nobody in particular, so that a
// message to them is not unroutable. [Kit.Delivered] has them, as all others.
func (k *Kit) Listen(topics ...string) {
	k.t.Helper()
	k.broker.Subscribe(broker.Subscription{Name: fmt.Sprintf("listener-%d", len(k.names)), Topics: topics,
		Handle: func(context.Context, broker.Delivery) error { return nil }})
	k.names[fmt.Sprintf("listener-%d", len(k.names))] = true
}

// Activity registers a Temporal activity that steps made with saga.Activity name.
func (k *Kit) Activity(name string, f any) { k.acts[name] = f }

// Deliver delivers a message as if it had been published, and what that brings
// about. Deliver it twice to see that its effect happens once.
func (k *Kit) Deliver(m holdfast.Message) {
	k.t.Helper()
	if m.ID == "" {
		k.t.Fatal("a message to deliver needs an ID, by which its consumers know it again")
	}
	if err := k.publish(k.t.Context(), m.ID, []holdfast.Message{m}); err != nil {
		k.t.Fatal(err)
	}
	k.given[m.ID] = true
	k.bury()
}

// publish publishes messages, and keeps those that had a consumer.
func (k *Kit) publish(ctx context.Context, txID string, ms []holdfast.Message) error {
	err := k.broker.PublishMessages(ctx, k.o.Group, txID, ms)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.delivered = append(k.delivered, holdfast.CloneMessages(ms)...)
	}
	return err
}

// Delivered are the messages that were published, the oldest first; those of
// sagas to their participants are not among them. A message that is there twice
// was published twice.
func (k *Kit) Delivered() []holdfast.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	return holdfast.CloneMessages(k.delivered)
}

// DeadLetters are the messages that consumers and participants gave up.
func (k *Kit) DeadLetters() []holdfast.DeadLetter { return k.server.DeadLetters() }

// LateReplies counts the replies of participants that no saga waited for.
func (k *Kit) LateReplies() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.late
}

func (k *Kit) name(name string) {
	k.t.Helper()
	if k.names[name] {
		k.t.Fatalf("two consumers or participants are named %q: they would share a queue", name)
	}
	k.names[name] = true
}

// Halves are the half messages that nobody has settled, by transaction: of a
// transaction that has ended there is none.
func (k *Kit) Halves() map[string]holdfast.Half { return k.server.Halves() }
