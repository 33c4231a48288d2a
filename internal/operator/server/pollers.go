package server

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
)

// Pollers counts the processes that take work from a task queue.
func (t *Temporal) Pollers(ctx context.Context, queue string, kind enumspb.TaskQueueType) (int, error) {
	all, err := t.pollersOf(ctx, queue, kind)
	return FreshPollers(all, time.Now()), err
}

// pollersOf are the processes that took work from a task queue in the last minutes.
func (t *Temporal) pollersOf(ctx context.Context, queue string,
	kind enumspb.TaskQueueType) ([]*taskqueuepb.PollerInfo, error) {
	d, err := t.DescribeTaskQueue(ctx, queue, kind)
	if err != nil {
		return nil, fmt.Errorf("task queue %s: %w", queue, err)
	}
	return d.GetPollers(), nil
}

// Deserted returns those of the task queues that no process polls.
func (t *Temporal) Deserted(ctx context.Context, queues []string) (map[string]bool, error) {
	nobody := map[string]bool{}
	for _, q := range queues {
		if _, asked := nobody[q]; asked {
			continue
		}
		n, err := t.Pollers(ctx, q, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		if err != nil {
			return nil, err
		}
		nobody[q] = n == 0
	}
	return nobody, nil
}

// pollFresh is how long ago a process asked Temporal for work last that still runs: it
// asks again each minute. Temporal goes on listing those that are gone for five.
const pollFresh = 90 * time.Second

// Polling says which processes take a group's work from Temporal.
type Polling struct {
	Fresh int
	Last  time.Time // when one asked last; zero: none in the last minutes
}

// Polled looks at a task queue's pollers of both kinds.
func (t *Temporal) Polled(ctx context.Context, queue string, now time.Time) (Polling, error) {
	var of [][]*taskqueuepb.PollerInfo
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		all, err := t.pollersOf(ctx, queue, kind)
		if err != nil {
			return Polling{}, err
		}
		of = append(of, all)
	}
	return PollingOf(now, of...), nil
}

// PollingOf counts the kind of pollers of which there are fewer: both are needed.
func PollingOf(now time.Time, kinds ...[]*taskqueuepb.PollerInfo) Polling {
	out := Polling{Fresh: -1}
	for _, all := range kinds {
		fresh := FreshPollers(all, now)
		if out.Fresh < 0 || fresh < out.Fresh {
			out.Fresh = fresh
		}
		for _, p := range all {
			if at := p.GetLastAccessTime().AsTime(); at.After(out.Last) {
				out.Last = at
			}
		}
	}
	return out
}

// FreshPollers counts those that still run.
func FreshPollers(all []*taskqueuepb.PollerInfo, now time.Time) (n int) {
	for _, p := range all {
		if at := p.GetLastAccessTime(); at == nil || now.Sub(at.AsTime()) < pollFresh {
			n++
		}
	}
	return n
}
