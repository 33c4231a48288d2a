package holdfasttest

import (
	"log/slog"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/consuming"
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
	takes := consuming.Consumer{Name: c.Name, Topics: c.Topics, DB: c.DB, Handle: c.Handle,
		HandleAtLeastOnce: c.HandleAtLeastOnce, Undo: c.Undo, Logger: slog.New(slog.DiscardHandler)}
	k.broker.Subscribe(broker.Subscription{Name: c.Name, Topics: c.Topics,
		Notices: notices, Tries: c.Tries, Ladder: c.Ladder,
		HandlerTimeout: c.Timeout, Policy: c.DeadLetters, Handle: takes.Take})
}
