package holdfasttest

import (
	"log/slog"
	"slices"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/consuming"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/worker"
)

// Consume adds a consumer. Where it has no DB, it is the kit's. Failing tries
// follow each other without pauses. With what it gives up, its policy's will is
// done; [Kit.DeadLetter] says what became of it.
func (k *Kit) Consume(c worker.Consumer) {
	k.t.Helper()
	if c.DB == nil {
		c.DB = k.o.DB
	}
	if c.Name == "" || len(c.Topics) == 0 || (c.Handle == nil) == (c.HandleAtLeastOnce == nil) {
		k.t.Fatalf("consumer %q needs a Name, Topics, and one of Handle and HandleAtLeastOnce", c.Name)
	}
	for _, topic := range c.Topics {
		if err := holdfast.ValidatePattern(topic); err != nil {
			k.t.Fatalf("consumer %q: %v", c.Name, err)
		}
	}
	if c.Undo != nil && c.Handle == nil {
		k.t.Fatalf("consumer %q: Undo needs Handle, whose inbox row says whether there is something to undo", c.Name)
	}
	k.name(c.Name)
	k.consumes[c.Name] = true
	var notices []string
	if c.Undo != nil {
		notices = c.Topics
	}
	takes, err := consuming.Consumer{Name: c.Name, Topics: c.Topics, DB: c.DB, Handle: c.Handle,
		HandleAtLeastOnce: c.HandleAtLeastOnce, Undo: c.Undo,
		Logger: slog.New(slog.DiscardHandler)}.Wrap(k.wrapper(c.Middleware))
	if err != nil {
		k.t.Fatalf("consumer %q: %v", c.Name, err)
	}
	k.broker.Subscribe(broker.Subscription{Name: c.Name, Topics: c.Topics,
		Notices: notices, Tries: c.Tries, Ladder: c.Ladder,
		HandlerTimeout: c.Timeout, Policy: c.DeadLetters, Handle: takes.Take})
}

// wrapper puts the kit's middleware around handlers, and inside it their own.
func (k *Kit) wrapper(own []worker.Middleware) consuming.Wrapper {
	all := slices.Concat(k.o.Middleware, own)
	return func(h consuming.Handle) (consuming.Handle, error) { return consuming.Chain(all, worker.Handle(h)) }
}

// wrapped is a participant's function inside middleware.
func (k *Kit) wrapped(name string, do sagarun.Participation, wrap consuming.Wrapper) sagarun.Participation {
	k.t.Helper()
	h, err := consuming.WrapParticipation(do, wrap)
	if err != nil {
		k.t.Fatalf("participant %q: %v", name, err)
	}
	return h
}
