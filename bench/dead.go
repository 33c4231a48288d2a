package main

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
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

const (
	deadLetters = 2_000
	// deadCallers is how many messages are published, or redelivered, at a time.
	deadCallers = 64
	deadTimeout = 5 * time.Minute // for all of them to become workflows, or to be handled
)

// dead is a consumer all of whose messages die at once. What counts is the memory
// of its process.
var dead = competitor{
	name: "dead",
	about: "2,000 messages, published by 64 callers, which their consumer refuses for good: " +
		"until Temporal lists 2,000 workflows DeadLetter; the worker is a process of its own",
	callers: []int{deadCallers},
	open: func(_ context.Context, s *servers) (*entry, error) {
		m := &mortuary{s: s}
		return &entry{
			prepare: m.begin,
			run: func(ctx context.Context, _ int) (figure, error) {
				began, used := time.Now(), readCPU()
				if err := m.die(ctx); err != nil {
					return figure{}, err
				}
				took := time.Since(began)
				f := figure{Rate: deadLetters / took.Seconds(), Operations: deadLetters, Seconds: took.Seconds(),
					CPU: readCPU().sub(used).per(deadLetters)}
				if err := m.allOpen(ctx); err != nil {
					return figure{}, err
				}
				state, err := m.worker.ask(ctx, askState)
				f.Growth = state.Memory.Peak - m.worker.ready.Memory.Resident
				return f, err
			},
			settle: m.end,
		}, nil
	},
}

// mortuary makes dead letters, and removes them.
type mortuary struct {
	s      *servers
	worker *deadWorker
	ids    []string // of the messages
}

// begin starts a worker with a consumer of its own: a new process each time, since
// memory that was once taken is not always given back.
func (m *mortuary) begin(ctx context.Context) error {
	consumer := "dead-" + uuid.NewString()[:8]
	if err := m.s.broker.DeclareConsumer(ctx, consumer, []string{topicOf(consumer)}); err != nil {
		return err
	}
	var err error
	m.worker, err = startDeadWorker(ctx, m.s, consumer)
	return err
}

// die publishes the messages and returns when Temporal lists a workflow for each.
func (m *mortuary) die(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	var err error
	if m.ids, err = m.s.fill(ctx, m.worker.consumer, topicOf(m.worker.consumer), deadLetters); err != nil {
		return err
	}
	for {
		answer, err := m.s.temporal.CountWorkflow(ctx, m.openRequest())
		if err != nil {
			return err
		}
		if answer.GetCount() >= deadLetters {
			return nil
		}
		if pause(ctx, lookEvery) != nil {
			return fmt.Errorf("%d of %d messages have become dead letters: %w",
				answer.GetCount(), deadLetters, context.Cause(ctx))
		}
	}
}

func (m *mortuary) openRequest() *workflowservice.CountWorkflowExecutionsRequest {
	r := countRequest(m.s.stack.Namespace(), deadletters.Name)
	r.Query += " AND WorkflowId STARTS_WITH '" + m.workflowID("") + "'"
	return r
}

func (m *mortuary) workflowID(message string) string {
	return workflows.DeadLetterID(m.s.prefix, holdfast.DeadLetter{ID: message,
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
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	return inParallel(ctx, len(m.ids), deadCallers, func(ctx context.Context, i int) error {
		id := m.workflowID(m.ids[i])
		for {
			d, err := m.s.temporal.DescribeWorkflowExecution(ctx, id, "")
			if err != nil {
				return err
			}
			if is, err := done(d); is || err != nil {
				return err
			}
			if pause(ctx, lookEvery) != nil {
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	errs := []error{m.worker.stop()}
	errs = append(errs, inParallel(ctx, len(m.ids), deadCallers, func(ctx context.Context, i int) error {
		err := m.s.temporal.TerminateWorkflow(ctx, m.workflowID(m.ids[i]), "", "the benchmark is over")
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) { // it has ended, or never began
			return nil
		}
		return err
	}))
	errs = append(errs, m.s.delete(m.s.broker.ConsumerQueue(m.worker.consumer), m.s.broker.HalfQueue(m.worker.consumer)),
		m.s.purge(m.s.broker.DeadQueue()))
	m.worker, m.ids = nil, nil
	return errors.Join(errs...)
}
