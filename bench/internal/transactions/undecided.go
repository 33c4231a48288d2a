package transactions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/workflows"
)

// UndecidedSeries is what a dead producer leaves behind, by the number of halves.
const UndecidedSeries = "undecided"

var undecidedSizes = []int{1_000, 25_000, 50_000, 100_000}

const (
	undecidedTimeout = 10 * time.Minute // for all of them to be decided
	rowsAtOnce       = 5_000            // outcome rows of one statement
)

// Undecided are its competitors.
func Undecided() (out []contest.Competitor) {
	for _, n := range undecidedSizes {
		out = append(out, contest.Competitor{
			Name: contest.NameOf(UndecidedSeries, n), Series: UndecidedSeries, Size: n, Callers: []int{1}, Rounds: 1,
			About: fmt.Sprintf("%d half messages of the Express lane that a dead producer left in the half queue, "+
				"every other one with a committed outcome row: "+
				"from the start of a worker's process (CheckAfter %v, "+
				"the other defaults) until each has its outcome row and every committed message is in its consumer's queue; "+
				"the memory is that process's peak", n, undecidedCheckAfter),
			Open: func(_ context.Context, s *servers.Servers) (*contest.Entry, error) {
				e := &estate{s: s, n: n}
				return &contest.Entry{Prepare: e.leave, Run: e.decide, Settle: e.end}, nil
			},
		})
	}
	return out
}

// estate is what one producer group left.
type estate struct {
	s      *servers.Servers
	n      int // halves, half of them committed
	group  string
	worker *child.Process
}

// leave publishes the halves and writes the outcome rows of those that committed.
func (e *estate) leave(ctx context.Context) error {
	e.group = "undecided-" + uuid.NewString()[:8]
	topic := servers.TopicOf(e.group)
	if err := errors.Join(e.s.Broker.DeclareConsumer(ctx, e.group, []string{topic}),
		e.s.Broker.DeclareGroup(ctx, e.group)); err != nil {
		return err
	}
	ids := make([]string, e.n)
	err := measure.InParallel(ctx, e.n, servers.AtOnce, func(ctx context.Context, i int) error {
		id, ms := orders.NewTransaction(topic)
		ids[i] = id
		return e.s.Broker.PublishHalf(ctx, holdfast.Half{TxID: id,
			Group: e.group, Messages: ms, At: time.Now(), Lane: holdfast.Express})
	})
	if err != nil {
		return err
	}
	var rows []outcomeRow
	for _, id := range ids[:e.n/2] {
		rows = append(rows, outcomeRow{TxID: id, ProducerGroup: e.group, Resolution: holdfast.Commit.String()})
	}
	return e.s.DB.WithContext(ctx).CreateInBatches(rows, rowsAtOnce).Error
}

// outcomeRow is what a committed local transaction leaves.
type outcomeRow struct {
	TxID          string `gorm:"primaryKey"`
	ProducerGroup string
	Resolution    string
}

func (outcomeRow) TableName() string { return "holdfast_outcomes" }

// decide starts the worker and waits until all is decided and delivered.
func (e *estate) decide(ctx context.Context, _ int) (measure.Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, undecidedTimeout)
	defer cancel()
	began, used := time.Now(), measure.ReadCPU()
	var m measure.Memory
	var err error
	if e.worker, err = child.Start(ctx, e.s, &m, UndecidedWorker, e.group,
		undecidedDatabaseEnv+"="+e.s.DSN); err != nil {
		return measure.Figure{}, err
	}
	for {
		done, err := e.decided(ctx)
		if err != nil {
			return measure.Figure{}, err
		}
		if done {
			break
		}
		if measure.Pause(ctx, servers.LookEvery) != nil {
			return measure.Figure{}, fmt.Errorf("not all of %d halves are decided: %w", e.n, context.Cause(ctx))
		}
	}
	took := time.Since(began)
	used = measure.ReadCPU().Sub(used)
	if err := e.worker.Ask(ctx, child.AskState, &m); err != nil {
		return measure.Figure{}, err
	}
	return measure.Figure{Rate: float64(e.n) / took.Seconds(), Operations: e.n,
		Seconds: took.Seconds(), Peak: m.Peak, CPU: used.Per(e.n)}, nil
}

// decided looks at what costs least first.
func (e *estate) decided(ctx context.Context) (bool, error) {
	delivered, err := e.s.Ready(e.s.Broker.ConsumerQueue(e.group))
	if err != nil || delivered < e.n/2 {
		return false, err
	}
	waiting, err := e.s.Ready(e.s.Broker.HalfQueue(e.group))
	if err != nil || waiting > 0 {
		return false, err
	}
	var rows int64
	err = e.s.DB.WithContext(ctx).Model(&outcomeRow{}).Where("producer_group = ?", e.group).Count(&rows).Error
	return rows == int64(e.n), err
}

// end waits until the workflows are closed, stops the worker, and removes what is
// left, also after a failure.
func (e *estate) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), contest.SettleTimeout)
	defer cancel()
	var errs []error
	if e.worker != nil {
		errs = append(errs, e.closed(ctx), e.worker.Stop())
		e.worker = nil
	}
	errs = append(errs, e.s.Delete(append(e.s.HalfQueues(e.group), e.s.Broker.ConsumerQueue(e.group))...),
		e.s.DB.WithContext(ctx).Where("producer_group = ?", e.group).Delete(&outcomeRow{}).Error)
	return errors.Join(errs...)
}

// closed waits until none of the group's workflows runs. Those that do not come to
// their end are terminated.
func (e *estate) closed(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, contest.SettleTimeout/2)
	defer cancel()
	running := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running'", workflows.TaskQueue(e.s.Prefix, e.group))
	for {
		answer, err := e.s.Temporal.CountWorkflow(waiting, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: e.s.Stack.Namespace(), Query: running})
		if err == nil && answer.GetCount() == 0 {
			return nil
		}
		if err != nil && waiting.Err() == nil {
			return err
		}
		if measure.Pause(waiting, servers.LookEvery) != nil {
			return errors.Join(fmt.Errorf("%d workflows are still running", answer.GetCount()), terminate(ctx, e.s, running))
		}
	}
}

// terminate ends the workflows that a query finds.
func terminate(ctx context.Context, s *servers.Servers, query string) error {
	list := &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.Stack.Namespace(), Query: query}
	for {
		page, err := s.Temporal.ListWorkflow(ctx, list)
		if err != nil {
			return err
		}
		found := page.GetExecutions()
		// one that has ended meanwhile is no matter
		_ = measure.InParallel(ctx, len(found), servers.AtOnce, func(ctx context.Context, i int) error {
			_ = s.Temporal.TerminateWorkflow(ctx, found[i].GetExecution().GetWorkflowId(), "", "the benchmark is over")
			return nil
		})
		if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
			return ctx.Err()
		}
	}
}
