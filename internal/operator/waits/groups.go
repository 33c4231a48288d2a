package waits

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
)

// lookGroups looks at who polls for the groups that have open workflows.
func (s *Survey) lookGroups(ctx context.Context) {
	for _, name := range text.SortedKeys(s.groups) {
		g := s.groups[name]
		g.polling, g.unpolled = s.Server.Polled(ctx, workflows.TaskQueue(s.Prefix, name), s.Now)
		if g.unpolled != nil {
			s.fail("group "+name, g.unpolled)
		}
	}
	if s.Broker != nil {
		for _, name := range text.SortedKeys(s.groups) {
			s.lookHalves(ctx, s.groups[name])
		}
	}
}

func (s *Survey) lookHalves(ctx context.Context, g *groupSight) {
	names, err := s.Broker.FindHalfQueues(ctx, g.name)
	if err == nil {
		var info broker.Info
		info, err = s.Broker.Inspect(ctx, names...)
		g.halves = info.Queues
	}
	if err != nil {
		s.fail("half queues of group "+g.name, err)
	}
}

// lookHalfQueues looks at the half queues of the groups that are known otherwise: by
// the processes that answer, by the latest workflows, by the outcomes in the database,
// and by RabbitMQ's management API.
func (s *Survey) lookHalfQueues(ctx context.Context) {
	names := processes.KeptGroups(s.answers)
	if s.Server != nil {
		if more, err := transactions.RecentGroups(ctx, s.Server); err == nil {
			names = append(names, more...)
		}
	}
	names = append(names, s.outcomeGroups(ctx)...)
	if m, err := processes.NewManagement(s.AMQPURL, s.TLS(), s.Management); err == nil {
		if queues, err := m.Queues(ctx, s.Prefix); err == nil {
			for _, q := range queues {
				if rest, ok := strings.CutPrefix(q.Name, s.Prefix+".half."); ok {
					group, _, _ := strings.Cut(rest, "#") // a further queue of the group
					names = append(names, group)
				}
			}
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if s.groups[name] == nil {
			s.lookHalves(ctx, s.group(name))
		}
	}
}

// tellGroups notes which groups nobody works for, and whose half queues nobody reads.
func (s *Survey) tellGroups() {
	for _, name := range text.SortedKeys(s.groups) {
		g := s.groups[name]
		if g.open > 0 && g.gone(s.unasked) {
			s.tellGone(g)
		}
		for _, q := range g.halves {
			if q.Messages == 0 || q.Consumers > 0 {
				continue
			}
			w := s.of(WaitHalfQueue, "a Keeper of "+q.Name)
			w.Count, w.Missing = q.Messages, true
			w.Detail = "no process of group " + name + " reads it: transactions that are undecided stay so"
			w.Remedy = "start a process of group " + name + ", or " + s.Code("keep", name) + " for a group of another language"
		}
	}
}

func (s *Survey) tellGone(g *groupSight) {
	w := s.of(WaitGroup, "a process of group "+g.name)
	w.Count, w.Since, w.Missing, w.Examples = g.open, g.oldest, true, []string{g.example}
	w.Remedy = "start a process of group " + g.name + ", with Temporal: what waits goes on by itself then"
	switch last := g.polling.Last; {
	case g.answering:
		w.Detail = "processes of the group answer, but none polls Temporal: see their log"
	case last.IsZero():
		w.Detail = "no process polls task queue " + workflows.TaskQueue(s.Prefix, g.name)
	default:
		w.Detail = fmt.Sprintf("the last one asked Temporal for work %s ago, and none answers", text.Age(s.Now.Sub(last)))
	}
}
