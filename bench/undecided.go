package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// undecidedSeries is what a dead producer leaves behind, by the number of halves.
const undecidedSeries = "undecided"

var undecidedSizes = []int{1_000, 25_000, 50_000, 100_000}

const (
	undecidedTimeout = 10 * time.Minute // for all of them to be decided
	rowsAtOnce       = 5_000            // outcome rows of one statement
)

// undecided are its competitors.
func undecided() (out []competitor) {
	for _, n := range undecidedSizes {
		out = append(out, competitor{
			name: nameOf(undecidedSeries, n), series: undecidedSeries, size: n, callers: []int{1}, rounds: 1,
			about: fmt.Sprintf("%d half messages of the Express lane that a dead producer left in the half queue, "+
				"every other one with a committed outcome row: "+
				"from the start of a worker's process (CheckAfter %v, "+
				"the other defaults) until each has its outcome row and every committed message is in its consumer's queue; "+
				"the memory is that process's peak", n, undecidedCheckAfter),
			open: func(_ context.Context, s *servers) (*entry, error) {
				e := &estate{s: s, n: n}
				return &entry{prepare: e.leave, run: e.decide, settle: e.end}, nil
			},
		})
	}
	return out
}

// estate is what one producer group left.
type estate struct {
	s      *servers
	n      int // halves, half of them committed
	group  string
	worker *child
}

// leave publishes the halves and writes the outcome rows of those that committed.
func (e *estate) leave(ctx context.Context) error {
	e.group = "undecided-" + uuid.NewString()[:8]
	topic := topicOf(e.group)
	if err := errors.Join(e.s.broker.DeclareConsumer(ctx, e.group, []string{topic}),
		e.s.broker.DeclareGroup(ctx, e.group)); err != nil {
		return err
	}
	ids := make([]string, e.n)
	err := inParallel(ctx, e.n, fillCallers, func(ctx context.Context, i int) error {
		id, ms := newTransaction(topic)
		ids[i] = id
		return e.s.broker.PublishHalf(ctx, holdfast.Half{TxID: id,
			Group: e.group, Messages: ms, At: time.Now(), Lane: holdfast.Express})
	})
	if err != nil {
		return err
	}
	var rows []outcomeRow
	for _, id := range ids[:e.n/2] {
		rows = append(rows, outcomeRow{TxID: id, ProducerGroup: e.group, Resolution: holdfast.Commit.String()})
	}
	return e.s.db.WithContext(ctx).CreateInBatches(rows, rowsAtOnce).Error
}

// outcomeRow is what a committed local transaction leaves.
type outcomeRow struct {
	TxID          string `gorm:"primaryKey"`
	ProducerGroup string
	Resolution    string
}

func (outcomeRow) TableName() string { return "holdfast_outcomes" }

// decide starts the worker and waits until all is decided and delivered.
func (e *estate) decide(ctx context.Context, _ int) (figure, error) {
	ctx, cancel := context.WithTimeout(ctx, undecidedTimeout)
	defer cancel()
	began, used := time.Now(), readCPU()
	var m memory
	var err error
	if e.worker, err = startChild(ctx, e.s, &m, undecidedWorkerRole, e.group,
		undecidedDatabaseEnv+"="+e.s.dsn); err != nil {
		return figure{}, err
	}
	for {
		done, err := e.decided(ctx)
		if err != nil {
			return figure{}, err
		}
		if done {
			break
		}
		if pause(ctx, lookEvery) != nil {
			return figure{}, fmt.Errorf("not all of %d halves are decided: %w", e.n, context.Cause(ctx))
		}
	}
	took := time.Since(began)
	used = readCPU().sub(used)
	if err := e.worker.ask(ctx, askState, &m); err != nil {
		return figure{}, err
	}
	return figure{Rate: float64(e.n) / took.Seconds(), Operations: e.n,
		Seconds: took.Seconds(), Peak: m.Peak, CPU: used.per(e.n)}, nil
}

// decided looks at what costs least first.
func (e *estate) decided(ctx context.Context) (bool, error) {
	delivered, err := e.s.ready(e.s.broker.ConsumerQueue(e.group))
	if err != nil || delivered < e.n/2 {
		return false, err
	}
	waiting, err := e.s.ready(e.s.broker.HalfQueue(e.group))
	if err != nil || waiting > 0 {
		return false, err
	}
	var rows int64
	err = e.s.db.WithContext(ctx).Model(&outcomeRow{}).Where("producer_group = ?", e.group).Count(&rows).Error
	return rows == int64(e.n), err
}

// end waits until the workflows are closed, stops the worker, and removes what is
// left, also after a failure.
func (e *estate) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var errs []error
	if e.worker != nil {
		errs = append(errs, e.closed(ctx), e.worker.stop())
		e.worker = nil
	}
	errs = append(errs, e.s.delete(append(e.s.halfQueues(e.group), e.s.broker.ConsumerQueue(e.group))...),
		e.s.db.WithContext(ctx).Where("producer_group = ?", e.group).Delete(&outcomeRow{}).Error)
	return errors.Join(errs...)
}

// closed waits until none of the group's workflows runs. Those that do not come to
// their end are terminated.
func (e *estate) closed(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, settleTimeout/2)
	defer cancel()
	running := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running'", workflows.TaskQueue(e.s.prefix, e.group))
	for {
		answer, err := e.s.temporal.CountWorkflow(waiting, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: e.s.stack.Namespace(), Query: running})
		if err == nil && answer.GetCount() == 0 {
			return nil
		}
		if err != nil && waiting.Err() == nil {
			return err
		}
		if pause(waiting, lookEvery) != nil {
			return errors.Join(fmt.Errorf("%d workflows are still running", answer.GetCount()), terminate(ctx, e.s, running))
		}
	}
}

// terminate ends the workflows that a query finds.
func terminate(ctx context.Context, s *servers, query string) error {
	list := &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.stack.Namespace(), Query: query}
	for {
		page, err := s.temporal.ListWorkflow(ctx, list)
		if err != nil {
			return err
		}
		found := page.GetExecutions()
		// one that has ended meanwhile is no matter
		_ = inParallel(ctx, len(found), fillCallers, func(ctx context.Context, i int) error {
			_ = s.temporal.TerminateWorkflow(ctx, found[i].GetExecution().GetWorkflowId(), "", "the benchmark is over")
			return nil
		})
		if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
			return ctx.Err()
		}
	}
}
