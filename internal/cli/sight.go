package cli

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"

	"github.com/holdfastmq/holdfast/broker"
)

// pollFresh is how long ago a process asked Temporal for work last that still runs: it
// asks again each minute. Temporal goes on listing those that are gone for five.
const pollFresh = 90 * time.Second

// asked are the processes of the prefix, which are asked once however many parts of a
// command wish to know.
type asked func() ([]broker.ProcessStatus, error)

// errNotAsked says why no process was asked.
var errNotAsked = errors.New("the processes were not asked: no address of RabbitMQ, or it is skipped")

// askOnce returns what asks the processes, once, over RabbitMQ.
func (a *app) askOnce(ctx context.Context, skip []string) asked {
	return sync.OnceValues(func() (answers []broker.ProcessStatus, err error) {
		if a.AMQPURL == "" || slices.Contains(skip, "rabbitmq") {
			return nil, errNotAsked
		}
		err = a.withBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
			answers, err = b.Ask(ctx, 0)
			return err
		})
		return answers, err
	})
}

// groupAnswers reports whether a process of a group is among those that answered.
func groupAnswers(answers []broker.ProcessStatus, group string) bool {
	return slices.ContainsFunc(answers, func(p broker.ProcessStatus) bool {
		return slices.ContainsFunc(p.Keepers, func(k broker.KeeperStatus) bool { return k.Group == group }) ||
			slices.ContainsFunc(p.Sagas, func(d broker.SagaDefinition) bool { return d.Group == group }) ||
			slices.ContainsFunc(p.Databases, func(d broker.DatabaseStatus) bool { return d.Group == group })
	})
}

// takes are the consumers and participants, of all that answered, that messages of a
// topic are for.
func takes(answers []broker.ProcessStatus, topic string) (of []broker.ConsumerStatus) {
	for _, p := range answers {
		for _, c := range p.Consumers {
			if (broker.Bound{Name: c.Name, Topics: c.Topics}).Matches(topic) {
				of = append(of, c)
			}
		}
	}
	return of
}

// heardOf are the consumers that some process remembers and that did not answer, by
// name.
func heardOf(answers []broker.ProcessStatus) (out []broker.Bound) {
	at := map[string]int{}
	for _, p := range answers {
		for _, c := range p.Remembers {
			if len(consumerStates(answers, c.Name)) > 0 {
				continue
			}
			i, known := at[c.Name]
			if !known {
				i = len(out)
				at[c.Name] = i
				out = append(out, c)
			}
			out[i].Age = min(out[i].Age, c.Age)
		}
	}
	return out
}

// polling says which processes take a group's work from Temporal.
type polling struct {
	fresh int
	last  time.Time // when one asked last; zero: none in the last minutes
}

// polled looks at a task queue's pollers of both kinds.
func (t *temporalServer) polled(ctx context.Context, queue string, now time.Time) (polling, error) {
	var of [][]*taskqueuepb.PollerInfo
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		all, err := t.pollersOf(ctx, queue, kind)
		if err != nil {
			return polling{}, err
		}
		of = append(of, all)
	}
	return pollingOf(now, of...), nil
}

// pollingOf counts the kind of pollers of which there are fewer: both are needed.
func pollingOf(now time.Time, kinds ...[]*taskqueuepb.PollerInfo) polling {
	out := polling{fresh: -1}
	for _, all := range kinds {
		fresh := freshPollers(all, now)
		if out.fresh < 0 || fresh < out.fresh {
			out.fresh = fresh
		}
		for _, p := range all {
			if at := p.GetLastAccessTime().AsTime(); at.After(out.last) {
				out.last = at
			}
		}
	}
	return out
}

// freshPollers counts those that still run.
func freshPollers(all []*taskqueuepb.PollerInfo, now time.Time) (n int) {
	for _, p := range all {
		if at := p.GetLastAccessTime(); at == nil || now.Sub(at.AsTime()) < pollFresh {
			n++
		}
	}
	return n
}
