// Package deadletters has the competitors that make dead letters and redeliver them.
// Their worker is a process of its own.
package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

const (
	letters = 2_000
	// Callers is how many messages are published, or redelivered, at a time.
	Callers = 64
	timeout = 5 * time.Minute // for all of them to become workflows, or to be handled
)

// Dead is a consumer all of whose messages die at once. What counts is the memory
// of its process.
var Dead = contest.Competitor{
	Name: "dead",
	About: "2,000 messages, published by 64 callers, which their consumer refuses for good: " +
		"until Temporal lists 2,000 workflows DeadLetter; the worker is a process of its own",
	Callers: []int{Callers},
	Open: func(_ context.Context, s *servers.Servers) (*contest.Entry, error) {
		m := &mortuary{s: s}
		return &contest.Entry{
			Prepare: m.begin,
			Run: func(ctx context.Context, _ int) (measure.Figure, error) {
				began, used := time.Now(), measure.ReadCPU()
				if err := m.die(ctx); err != nil {
					return measure.Figure{}, err
				}
				took := time.Since(began)
				f := measure.Figure{Rate: letters / took.Seconds(), Operations: letters, Seconds: took.Seconds(),
					CPU: measure.ReadCPU().Sub(used).Per(letters)}
				if err := m.allOpen(ctx); err != nil {
					return measure.Figure{}, err
				}
				state, err := m.worker.ask(ctx, child.AskState)
				f.Growth = state.Memory.Peak - m.worker.ready.Memory.Resident
				return f, err
			},
			Settle: m.end,
		}, nil
	},
}

// mortuary makes dead letters, and removes them.
type mortuary struct {
	s      *servers.Servers
	worker *deadWorker
	ids    []string // of the messages
}

// begin starts a worker with a consumer of its own: a new process each time, since
// memory that was once taken is not always given back.
func (m *mortuary) begin(ctx context.Context) error {
	consumer := "dead-" + uuid.NewString()[:8]
	if err := m.s.Broker.DeclareConsumer(ctx, consumer, []string{servers.TopicOf(consumer)}); err != nil {
		return err
	}
	var err error
	m.worker, err = startWorker(ctx, m.s, consumer)
	return err
}

// die publishes the messages and returns when Temporal lists a workflow for each.
func (m *mortuary) die(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	if m.ids, err = m.s.Fill(ctx, m.worker.consumer, servers.TopicOf(m.worker.consumer), letters); err != nil {
		return err
	}
	for {
		answer, err := m.s.Temporal.CountWorkflow(ctx, m.openRequest())
		if err != nil {
			return err
		}
		if answer.GetCount() >= letters {
			return nil
		}
		if measure.Pause(ctx, servers.LookEvery) != nil {
			return fmt.Errorf("%d of %d messages have become dead letters: %w",
				answer.GetCount(), letters, context.Cause(ctx))
		}
	}
}

func (m *mortuary) openRequest() *workflowservice.CountWorkflowExecutionsRequest {
	r := servers.CountRequest(m.s.Stack.Namespace(), deadletters.Name)
	r.Query += " AND WorkflowId STARTS_WITH '" + m.workflowID("") + "'"
	return r
}

func (m *mortuary) workflowID(message string) string {
	return workflows.DeadLetterID(m.s.Prefix, holdfast.DeadLetter{ID: message,
		Failure: holdfast.Failure{Consumer: m.worker.consumer}})
}

// allOpen waits until every workflow waits for an operator: its first task is
// done, so that what the worker is going to keep of it is kept.
func (m *mortuary) allOpen(ctx context.Context) error {
	return m.each(ctx, func(d *workflowservice.DescribeWorkflowExecutionResponse) (bool, error) {
		if status := d.GetWorkflowExecutionInfo().GetStatus(); status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return false, fmt.Errorf("it is %v and should be running", status)
		}
		return d.GetPendingWorkflowTask() == nil, nil
	})
}

// allHandled waits until every workflow has come to its end.
func (m *mortuary) allHandled(ctx context.Context) error {
	return m.each(ctx, func(d *workflowservice.DescribeWorkflowExecutionResponse) (bool, error) {
		switch status := d.GetWorkflowExecutionInfo().GetStatus(); status {
		case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
			return true, nil
		case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
			return false, nil
		default:
			return false, fmt.Errorf("it is %v and should be completed", status)
		}
	})
}

// each looks at every dead letter's workflow until it is done.
func (m *mortuary) each(ctx context.Context,
	done func(*workflowservice.DescribeWorkflowExecutionResponse) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return measure.InParallel(ctx, len(m.ids), Callers, func(ctx context.Context, i int) error {
		id := m.workflowID(m.ids[i])
		for {
			d, err := m.s.Temporal.DescribeWorkflowExecution(ctx, id, "")
			if err != nil {
				return err
			}
			if is, err := done(d); is || err != nil {
				return err
			}
			if measure.Pause(ctx, servers.LookEvery) != nil {
				return fmt.Errorf("workflow %s: %w", id, context.Cause(ctx))
			}
		}
	})
}

// end stops the worker and removes its queues and what is left of the workflows,
// also after an interruption: the servers may not be ours.
func (m *mortuary) end(ctx context.Context) error {
	if m.worker == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), contest.SettleTimeout)
	defer cancel()
	errs := []error{m.worker.Stop()}
	errs = append(errs, measure.InParallel(ctx, len(m.ids), Callers, func(ctx context.Context, i int) error {
		err := m.s.Temporal.TerminateWorkflow(ctx, m.workflowID(m.ids[i]), "", "the benchmark is over")
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) { // it has ended, or never began
			return nil
		}
		return err
	}))
	errs = append(errs, m.s.Delete(m.s.Broker.ConsumerQueue(m.worker.consumer), m.s.Broker.HalfQueue(m.worker.consumer)),
		m.s.Purge(m.s.Broker.DeadQueue()))
	m.worker, m.ids = nil, nil
	return errors.Join(errs...)
}
