package waits

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

const (
	// LadderLook is how many messages of a delay queue are looked at, to tell whose they
	// are.
	LadderLook = 1000
	// maxDelays is how many delay queues are looked at.
	maxDelays = 64
	// LadderPrefix begins what the messages of a consumer in its delays wait for.
	LadderPrefix = "the retry ladder of "
)

// DelayQueues are the queues of the retry ladders: those of the default one, and those
// that the processes that answer know of.
func DelayQueues(prefix string, answers []broker.ProcessStatus) (names []string) {
	name := func(d time.Duration) string { return broker.DelayQueue(prefix, d) }
	for _, d := range broker.DefaultLadder() {
		names = append(names, name(d))
	}
	for _, p := range answers {
		for _, c := range p.Consumers {
			for _, d := range c.Delays {
				if n := name(d); d > 0 && len(names) < maxDelays && !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
	}
	return names
}

// Looked is what was seen of a delay queue, or why it was not.
type Looked struct {
	broker.LadderQueue
	Err error
}

// delay is the queue's delay.
func (l Looked) delay(prefix string) string { return strings.TrimPrefix(l.Name, prefix+".retry.") }

// Unseen is how many messages were not looked at.
func (l Looked) Unseen() int { return l.Messages - l.Seen }

// LookAtLadder looks whose the messages are in those delay queues that have any, at limit
// messages of each.
func LookAtLadder(ctx context.Context, b *broker.Broker, queues []broker.QueueInfo, limit int) (out []Looked) {
	for _, q := range queues {
		if q.Messages > 0 {
			out = append(out, Looked{LadderQueue: broker.LadderQueue{Name: q.Name, Messages: q.Messages}})
		}
	}
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() {
			l, err := b.PeekLadder(ctx, out[i].Name, limit)
			if out[i].Err = err; err == nil {
				out[i].LadderQueue = l
			}
		})
	}
	all.Wait()
	return out
}

// noteLadder notes what waits in a delay, by consumer as far as that is known.
func (s *Survey) noteLadder(l Looked) {
	delay := l.delay(s.Prefix)
	for _, x := range l.Waits {
		var w *Wait
		if x.Consumer == "" {
			w = s.of(WaitRetry, "the delay of "+delay)
			w.Then, w.Detail = "it goes on by itself", "what no consumer waits for, such as what was put off for an operator"
		} else {
			w = s.of(WaitRetry, LadderPrefix+x.Consumer)
			w.Then, w.AtLeast = "each is tried again at its time", w.AtLeast || l.Unseen() > 0
			w.steps = append(w.steps, fmt.Sprintf("%d in %s", x.Count, delay))
			w.Detail = text.Join(w.steps)
			w.Remedy = "mend what it fails for, see its log; it goes on by itself, and " + s.Code("retry-now", "") +
				" tries them at once"
			s.nudgeLadder(x, l, w)
		}
		for _, id := range x.Examples {
			w.Note(id, x.Since, x.Next)
		}
		w.Count += x.Count - len(x.Examples)
	}
	if n := l.Unseen(); n > 0 {
		w := s.of(WaitRetry, "the delay of "+delay+", not looked at")
		w.Count, w.Then, w.Detail = n, "each is tried again, within "+delay, "whose they are is not known"
		if l.Err != nil {
			w.Detail += ": " + text.Of(l.Err)
		}
	}
}
