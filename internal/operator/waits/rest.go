package waits

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
)

// lookLetters sorts the open dead letters by what they wait for.
func (s *Survey) lookLetters(ctx context.Context) {
	infos, more, err := s.Server.Pages(ctx, deadletters.LettersQuery(s.Prefix)+` AND ExecutionStatus = "Running"`,
		server.ScanLimit)
	if err != nil {
		s.fail("dead letters", err)
		return
	}
	for _, info := range infos {
		r := transactions.InfoRow(s.Server, info)
		id, ok := workflows.ParseID(r.WorkflowID)
		if !ok || !s.Server.IsOurs(info) {
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
		w := s.of(WaitLetter, what+": consumer "+id.Owner)
		w.Then, w.AtLeast = then, more
		w.Remedy = s.Code("dead list", "", "--consumer", id.Owner) + " lists them, " + s.Code("dead show", "ID") +
			" says what can be done"
		w.Note(r.WorkflowID, r.Started, time.Time{})
	}
}

// lookConsumers looks at what waits behind a breaker, at consumers that nobody runs,
// and at the delays of the retry ladder.
func (s *Survey) lookConsumers(ctx context.Context) {
	var names []string
	for _, p := range s.answers {
		for _, c := range p.Consumers {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	running := len(names)
	known := processes.WithHeard(s.KnownConsumers(ctx, nil), s.answers)
	for _, k := range known {
		if !slices.Contains(names, k.Name) {
			names = append(names, k.Name)
		}
	}
	queues := make([]string, len(names))
	for i, n := range names {
		queues[i] = s.Broker.ConsumerQueue(n)
	}
	delays := s.delayQueues(ctx)
	info, err := s.Broker.Inspect(ctx, append(queues, delays...)...)
	if err != nil {
		s.fail("consumers", err)
		return
	}
	for i, name := range names {
		s.noteConsumer(name, info.Queues[i], i < running)
	}
	limit := LadderLook
	if s.Nudging { // whose messages are not seen, is not helped
		limit = broker.MaxLadder
	}
	for _, l := range LookAtLadder(ctx, s.Broker, info.Queues[len(names):], limit) {
		s.noteLadder(l)
	}
}

func (s *Survey) noteConsumer(name string, q broker.QueueInfo, runs bool) {
	of := processes.ConsumerStates(s.answers, name)
	for _, c := range of {
		if processes.Severity(c) == 0 {
			continue
		}
		w := s.of(WaitConsumer, "the breaker of "+name)
		w.Count = max(w.Count, q.Messages+c.Handling, 1)
		w.Then, w.Detail = "one message is tried", fmt.Sprintf("%s: %s", c.Breaker, c.Error)
		w.Remedy = "mend the dependency that the error names; it goes on by itself, and " + s.Code("retry-now", "") +
			" has it try at once"
		if w.Since.IsZero() || c.Since.Before(w.Since) {
			w.Since = c.Since
		}
		s.nudgeBreaker(name, c, w)
		if !c.Next.IsZero() && (w.Next.IsZero() || c.Next.Before(w.Next)) {
			w.Next = c.Next
		}
	}
	if p := processes.PausedByHand(of); p != nil {
		w := s.of(WaitConsumer, "somebody who resumes "+name)
		w.Count, w.Since, w.Next, w.Detail = max(q.Messages, 1), p.Since, p.Until, p.String()
		if w.Then = "it stays paused"; !p.Until.IsZero() {
			w.Then = "it goes on by itself"
		}
		w.Remedy = s.Command("consumers resume", name, text.WithReason()...)
	}
	if !runs && q.Messages > 0 && q.Consumers == 0 {
		w := s.of(WaitConsumer, "a process of consumer "+name)
		w.Count, w.Missing = q.Messages, true
		w.Detail, w.Remedy = "nobody reads "+q.Name, "start a process of the consumer, or, if it is gone on purpose: "+
			s.Command("consumers forget", name)+", then "+s.Command("consumers remove", name, text.WithReason()...)
	}
}

// delayQueues are the queues of the retry ladders, and where RabbitMQ's management API is
// reached really all.
func (s *Survey) delayQueues(ctx context.Context) (names []string) {
	names = DelayQueues(s.Prefix, s.answers)
	m, err := processes.NewManagement(s.AMQPURL, s.TLS(), s.Management)
	if err != nil {
		return names
	}
	queues, err := m.Queues(ctx, s.Prefix)
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
