package steps

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
)

const (
	// askAtOnce is how many Checkers a sweep asks at the same time.
	askAtOnce = 32
	// askPatience is how long a sweep waits for its Checkers and for the database.
	askPatience = 10 * time.Second
)

// CheckBackAll asks the Checkers of the topics that have one, and the outcome rows
// about all others at once, or the group's processes over RabbitMQ. What has not
// been answered in time is Unknown, and Unreached.
func (s *Steps) CheckBackAll(ctx context.Context, group string, txs []activities.Tx) []activities.LocalResult {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	if s.Remote != nil {
		out := s.checkRemotely(ctx, group, txs)
		s.Recovered(out)
		return out
	}
	out := make([]activities.LocalResult, len(txs))
	var rows, asked []int
	for i, tx := range txs {
		out[i] = activities.LocalResult{ID: tx.ID}
		if err := s.Databases.Other(tx.Database); err != nil {
			out[i] = elsewhere(tx.ID, err)
			continue
		}
		if s.checkerOf(tx.Messages) == nil && s.DB != nil {
			rows = append(rows, i)
		} else {
			asked = append(asked, i)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.readAll(ctx, group, txs, rows, out) })
	s.askAll(ctx, group, txs, asked, out)
	wg.Wait()
	s.Recovered(out)
	return out
}

// readAll asks the database about those of txs that which names, in one round trip.
func (s *Steps) readAll(ctx context.Context, group string, txs []activities.Tx, which []int,
	out []activities.LocalResult) {
	if len(which) == 0 {
		return
	}
	ids := make([]string, len(which))
	for n, i := range which {
		ids[n] = txs[i].ID
	}
	// Those that nobody said a database of are asked for in the one that was found at the start, too.
	outcomes, errs := barrier.CheckBackAll(ctx, barrier.Expect(s.DB, s.Databases.Own()), ids, group, 0)
	for n, i := range which {
		if other := (*barrier.OtherDatabaseError)(nil); errors.As(errs[n], &other) {
			s.Databases.TellOther(other)
			out[i] = elsewhere(txs[i].ID, errs[n])
			continue
		}
		if errs[n] != nil {
			var all *barrier.SweepError
			out[i].Error, out[i].Unreached = errs[n].Error(), errors.As(errs[n], &all)
			continue
		}
		out[i].Resolution, out[i].Messages = outcomes[n].Resolution, outcomes[n].Messages
	}
}

// askAll asks about those of txs that which names one by one, many at the same
// time. A Checker that does not answer, even when ctx is done, is left behind.
func (s *Steps) askAll(ctx context.Context, group string, txs []activities.Tx, which []int,
	out []activities.LocalResult) {
	type answer struct {
		i      int
		result activities.LocalResult
	}
	answers := make(chan answer, len(which)) // never blocks, also when nobody reads it any more
	slots := make(chan struct{}, askAtOnce)
	for _, i := range which {
		out[i] = tooSlow(txs[i])
		go func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				answers <- answer{i, s.CheckBack(ctx, group, txs[i])}
			case <-ctx.Done():
			}
		}()
	}
	for range which {
		select {
		case a := <-answers:
			out[a.i] = a.result
		case <-ctx.Done():
			for len(answers) > 0 { // just in time
				a := <-answers
				out[a.i] = a.result
			}
			return
		}
	}
}

func tooSlow(tx activities.Tx) activities.LocalResult {
	return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Unknown, Unreached: true,
		Error: fmt.Sprintf("the Checkers of the sweep did not answer within %v: the one of topic %s", askPatience,
			tx.Messages[0].Topic)}
}
