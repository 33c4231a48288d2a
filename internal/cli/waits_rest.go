package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows"
)

// lookLetters sorts the open dead letters by what they wait for.
func (s *survey) lookLetters(ctx context.Context) {
	infos, more, err := s.temp.pages(ctx, lettersQuery(s.Prefix)+` AND ExecutionStatus = "Running"`, scanLimit)
	if err != nil {
		s.fail("dead letters", err)
		return
	}
	for _, info := range infos {
		r := infoRow(s.temp, info)
		id, ok := workflows.ParseID(r.WorkflowID)
		if !ok || !s.temp.isOurs(info) {
			continue
		}
		what, then := "an operator", ""
		switch workflows.State(r.State) {
		case workflows.Waits:
			what, then = "its next redelivery", "it is redelivered, as its policy says"
		case workflows.Redelivering:
			what, then = "its consumer's answer", "it is redelivered again, or parked"
		case workflows.Compensating:
			what, then = "a process of its producer group, which compensates it", "it is tried again"
		}
		w := s.of(waitLetter, what+": consumer "+id.Owner)
		w.Then, w.AtLeast = then, more
		w.Remedy = s.code("dead list", "", "--consumer", id.Owner) + " lists them, " + s.code("dead show", "ID") + " says what can be done"
		w.note(r.WorkflowID, r.Started, time.Time{})
	}
}

// lookConsumers looks at what waits behind a breaker, at consumers that nobody runs,
// and at the delays of the retry ladder.
func (s *survey) lookConsumers(ctx context.Context) {
	var names []string
	for _, p := range s.answers {
		for _, c := range p.Consumers {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	running := len(names)
	known := withHeard(s.known(ctx, nil), s.answers)
	for _, k := range known {
		if !slices.Contains(names, k.Name) {
			names = append(names, k.Name)
		}
	}
	queues := make([]string, len(names))
	for i, n := range names {
		queues[i] = s.broker.ConsumerQueue(n)
	}
	delays := s.delayQueues(ctx)
	info, err := s.broker.Inspect(ctx, append(queues, delays...)...)
	if err != nil {
		s.fail("consumers", err)
		return
	}
	for i, name := range names {
		s.noteConsumer(name, info.Queues[i], i < running)
	}
	limit := ladderLook
	if s.nudging { // whose messages are not seen, is not helped
		limit = broker.MaxLadder
	}
	for _, l := range lookAtLadder(ctx, s.broker, info.Queues[len(names):], limit) {
		s.noteLadder(l)
	}
}

func (s *survey) noteConsumer(name string, q broker.QueueInfo, runs bool) {
	of := consumerStates(s.answers, name)
	for _, c := range of {
		if severity(c) == 0 {
			continue
		}
		w := s.of(waitConsumer, "the breaker of "+name)
		w.Count = max(w.Count, q.Messages+c.Handling, 1)
		w.Then, w.Detail = "one message is tried", fmt.Sprintf("%s: %s", c.Breaker, c.Error)
		w.Remedy = "mend the dependency that the error names; it goes on by itself, and " + s.code("retry-now", "") + " has it try at once"
		if w.Since.IsZero() || c.Since.Before(w.Since) {
			w.Since = c.Since
		}
		s.nudgeBreaker(name, c, w)
		if !c.Next.IsZero() && (w.Next.IsZero() || c.Next.Before(w.Next)) {
			w.Next = c.Next
		}
	}
	if !runs && q.Messages > 0 && q.Consumers == 0 {
		w := s.of(waitConsumer, "a process of consumer "+name)
		w.Count, w.Missing = q.Messages, true
		w.Detail, w.Remedy = "nobody reads "+q.Name, "start a process of the consumer, or, if it is gone on purpose, delete its queue and: "+s.command("consumers forget", name)
	}
}

// delayQueues are the queues of the retry ladders, and where RabbitMQ's management API is
// reached really all.
func (s *survey) delayQueues(ctx context.Context) (names []string) {
	names = delayQueues(s.Prefix, s.answers)
	m, err := newManagement(s.AMQPURL, s.Management)
	if err != nil {
		return names
	}
	queues, err := m.queues(ctx, s.Prefix)
	if err != nil {
		return names
	}
	for _, q := range queues {
		delay, ok := strings.CutPrefix(q.Name, s.Prefix+".retry.")
		if ok && !strings.HasPrefix(delay, "full.") && !slices.Contains(names, q.Name) {
			names = append(names, q.Name)
		}
	}
	return names
}
