package desk

import (
	"context"
	"sync"

	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Consumers are all consumers that are known, and their open dead letters.
type Consumers struct {
	consumers.Seen
	// Letters are the open dead letters by consumer; nil: they could not be counted.
	Letters map[string]int
	// MoreLetters says that there are others, which were not counted.
	MoreLetters bool
}

// Consumers looks at all consumers and half queues, and counts the dead letters of each
// consumer. An error says that RabbitMQ was not reached.
func (d *Desk) Consumers(ctx context.Context) (Consumers, error) {
	var all Consumers
	var groups []deadletters.Group
	var more bool
	var uncounted error
	var wg sync.WaitGroup
	wg.Go(func() {
		uncounted = guard.Call(func() (err error) {
			groups, more, err = d.LetterGroups(ctx, "consumer", deadletters.Filter{})
			return err
		})
	})
	seen, err := guard.Value(func() (consumers.Seen, error) { return consumers.Look(ctx, d.c) })
	wg.Wait()
	if err != nil {
		return Consumers{}, err
	}
	all.Seen = seen
	if uncounted != nil {
		all.Unknown = append(all.Unknown, "dead letters: "+text.Of(uncounted))
		return all, nil
	}
	all.Letters, all.MoreLetters = map[string]int{}, more
	for _, g := range groups {
		all.Letters[g.Value] = g.Count
	}
	return all, nil
}
