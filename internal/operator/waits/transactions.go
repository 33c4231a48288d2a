package waits

import (
	"context"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// oldTransaction is how long ago a transaction began at least whose workflow is looked
// at: the others are under way.
const oldTransaction = 5 * time.Second

// lookTransactions sorts the open transactions by what they wait for.
func (s *Survey) lookTransactions(ctx context.Context) {
	query := transactions.KindTerm + " AND " + server.GroupTerm(s.Prefix, "") +
		` AND ExecutionStatus = "Running" AND StartTime < ` +
		server.Quote(s.Now.Add(-oldTransaction).UTC().Format(time.RFC3339Nano))
	infos, more, err := s.Server.Pages(ctx, query, server.ScanLimit)
	if err != nil {
		s.fail("transactions", err)
		return
	}
	var rows []transactions.Row
	for _, info := range infos {
		r := transactions.InfoRow(s.Server, info)
		if s.Server.IsOurs(info) && r.Group != "" {
			s.group(r.Group).hold(r.WorkflowID, r.Started)
			rows = append(rows, r)
		}
	}
	asked, told := s.worthAsking(rows)
	for _, r := range told {
		s.noteTransaction(r, txflow.MemberStatus{ID: r.Tx, State: workflows.State(r.State), Topics: r.Topics}, more)
		if r.State == string(workflows.Parked) {
			s.guessed = true
			s.unlooked++
		}
	}
	var mu sync.Mutex
	var asking errgroup.Group
	asking.SetLimit(server.ResultsAtOnce)
	for _, r := range asked {
		asking.Go(func() error {
			members, err := transactions.Members(ctx, s.Server, r, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(members) == 0 {
				members = []txflow.MemberStatus{{ID: r.Tx, State: workflows.State(r.State), Topics: r.Topics}}
			}
			for _, m := range members {
				s.noteTransaction(r, m, more)
			}
			return nil
		})
	}
	_ = asking.Wait()
}

// parkedAsked is how many of those that are parked, alike in group and topic, are asked why. Their
// list tells all of them but that some lack only a consumer; mostly all that are alike do, or
// none does.
const parkedAsked = 5

// worthAsking divides transactions into those that are asked what they wait for, Asks at most,
// and those of which their list tells enough.
func (s *Survey) worthAsking(rows []transactions.Row) (asked, told []transactions.Row) {
	parked := map[string]int{}
	for _, r := range rows {
		alike := strings.Join(append([]string{r.Group}, r.Topics...), " ")
		enough := r.State == server.StateRunning || len(asked) == s.Asks
		if r.State == string(workflows.Parked) && !server.IsShared(r.WorkflowID) && !s.Nudging {
			enough = enough || parked[alike] >= parkedAsked
			parked[alike]++
		}
		if enough {
			told = append(told, r)
		} else {
			asked = append(asked, r)
		}
	}
	return asked, told
}

// unroutedText begins the reason of what no queue is bound for.
var unroutedText = holdfast.ErrUnroutable.Error()

// noteTransaction notes what a member of a workflow waits for, if it does so there.
func (s *Survey) noteTransaction(r transactions.Row, m txflow.MemberStatus, more bool) {
	if m.State.Final() || m.State == workflows.Left {
		return
	}
	unrouted := strings.Contains(m.Reason, unroutedText)
	var w *Wait
	switch {
	case unrouted:
		topic := unroutedTopic(m)
		w = s.of(WaitTransaction, "a consumer bound to "+topic)
		w.Missing, w.AtLeast = len(processes.Takes(s.answers, topic)) == 0, w.AtLeast || s.guessed
		w.Then = "it is published again"
		w.Remedy = "start a process of a consumer of " + topic + ": they go on by themselves then; " + s.Code("retry-now",
			"") + " has them try at once"
	case m.State == workflows.Parked:
		w = s.of(WaitTransaction, "an operator, parked")
		w.Remedy = s.Code("tx list", "", "--state", "parked") + " lists them with the reasons, " + s.Code("tx show", "ID") +
			" says what can be done"
	case m.State == workflows.Delivering:
		w = s.of(WaitTransaction, "RabbitMQ to take its messages")
		w.Then, w.Detail = "it is published again, within a minute", text.CutText(m.Reason, 200)
		w.Remedy = "see what the reason names; it goes on by itself"
	case m.State == workflows.Checking:
		w = s.of(WaitTransaction, "a check-back of group "+r.Group)
		w.Then, w.Detail = "its group is asked again, within 5 minutes", text.CutText(m.Reason, 200)
		w.Remedy = "it goes on by itself; " + s.Code("retry-now", "") + " asks at once"
	default:
		w = s.of(WaitTransaction, "its step, under way")
	}
	if unrouted || m.State == workflows.Delivering || m.State == workflows.Checking {
		s.nudge(r.WorkflowID, w, txflow.UpdateRecheck, txflow.Request{Tx: m.ID, Operator: s.By, Reason: s.Why})
	}
	w.AtLeast = w.AtLeast || more
	w.Note(server.OwnID(r.WorkflowID, m.ID), r.Started, time.Time{})
}

// unroutedTopic is the topic that a reason names, or the first one.
func unroutedTopic(m txflow.MemberStatus) string {
	if _, topic, ok := strings.Cut(m.Reason, "no consumer is bound to "); ok {
		topic, _, _ = strings.Cut(topic, ":")
		topic, _, _ = strings.Cut(topic, " ")
		return strings.TrimRight(topic, ".,;")
	}
	if len(m.Topics) > 0 {
		return m.Topics[0]
	}
	return "its topic"
}

// outcomeGroups are the groups of the latest outcomes in the database.
func (s *Survey) outcomeGroups(ctx context.Context) (names []string) {
	if s.DatabaseURL == "" {
		return nil
	}
	_ = s.WithDatabase(ctx, func(ctx context.Context, db *gorm.DB) (err error) { // the PostgreSQL part says why not
		names, err = barrier.RecentGroups(ctx, db)
		return err
	})
	return names
}
