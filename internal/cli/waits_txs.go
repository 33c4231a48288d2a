package cli

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
	"github.com/holdfastmq/holdfast/workflows"
)

// oldTransaction is how long ago a transaction began at least whose workflow is looked
// at: the others are under way.
const oldTransaction = 5 * time.Second

// lookTransactions sorts the open transactions by what they wait for.
func (s *survey) lookTransactions(ctx context.Context) {
	query := kindTerm + " AND " + groupTerm(s.Prefix, "") + ` AND ExecutionStatus = "Running" AND StartTime < ` +
		quote(s.now.Add(-oldTransaction).UTC().Format(time.RFC3339Nano))
	infos, more, err := s.temp.pages(ctx, query, scanLimit)
	if err != nil {
		s.fail("transactions", err)
		return
	}
	var mu sync.Mutex
	var asking errgroup.Group
	asking.SetLimit(resultsAtOnce)
	left := s.asks
	for _, info := range infos {
		r := infoRow(s.temp, info)
		if !s.temp.isOurs(info) || r.Group == "" {
			continue
		}
		mu.Lock()
		s.group(r.Group).hold(r.WorkflowID, r.Started)
		mu.Unlock()
		if left--; left < 0 || r.State == stateRunning {
			mu.Lock()
			s.noteTransaction(r, workflows.MemberStatus{ID: r.Tx, State: workflows.State(r.State), Topics: r.Topics}, more)
			mu.Unlock()
			continue
		}
		asking.Go(func() error {
			members, err := membersOf(ctx, s.temp, r, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(members) == 0 {
				members = []workflows.MemberStatus{{ID: r.Tx, State: workflows.State(r.State), Topics: r.Topics}}
			}
			for _, m := range members {
				s.noteTransaction(r, m, more)
			}
			return nil
		})
	}
	_ = asking.Wait()
}

// unroutedText begins the reason of what no queue is bound for.
var unroutedText = holdfast.ErrUnroutable.Error()

// noteTransaction notes what a member of a workflow waits for, if it does so there.
func (s *survey) noteTransaction(r row, m workflows.MemberStatus, more bool) {
	if m.State.Final() || m.State == workflows.Left {
		return
	}
	unrouted := strings.Contains(m.Reason, unroutedText)
	var w *wait
	switch {
	case unrouted:
		topic := unroutedTopic(m)
		w = s.of(waitTransaction, "a consumer bound to "+topic)
		w.Missing = len(takes(s.answers, topic)) == 0
		w.Then = "it is published again"
		w.Remedy = "start a process of a consumer of " + topic + ": they go on by themselves then; " + s.code("retry-now", "") + " has them try at once"
	case m.State == workflows.Parked:
		w = s.of(waitTransaction, "an operator, parked")
		w.Remedy = s.code("tx list", "", "--state", "parked") + " lists them with the reasons, " + s.code("tx show", "ID") + " says what can be done"
	case m.State == workflows.Delivering:
		w = s.of(waitTransaction, "RabbitMQ to take its messages")
		w.Then, w.Detail = "it is published again, within a minute", cutText(m.Reason, 200)
		w.Remedy = "see what the reason names; it goes on by itself"
	case m.State == workflows.Checking:
		w = s.of(waitTransaction, "a check-back of group "+r.Group)
		w.Then, w.Detail = "its group is asked again, within 5 minutes", cutText(m.Reason, 200)
		w.Remedy = "it goes on by itself; " + s.code("retry-now", "") + " asks at once"
	default:
		w = s.of(waitTransaction, "its step, under way")
	}
	if unrouted || m.State == workflows.Delivering || m.State == workflows.Checking {
		s.nudge(r.WorkflowID, w, workflows.UpdateRecheck, workflows.Request{Tx: m.ID, Operator: s.operator, Reason: s.reason})
	}
	w.AtLeast = w.AtLeast || more
	w.note(ownID(r.WorkflowID, m.ID), r.Started, time.Time{})
}

// unroutedTopic is the topic that a reason names, or the first one.
func unroutedTopic(m workflows.MemberStatus) string {
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
func (s *survey) outcomeGroups(ctx context.Context) (names []string) {
	if s.DatabaseURL == "" {
		return nil
	}
	_ = s.withDatabase(ctx, func(ctx context.Context, db *gorm.DB) (err error) { // the PostgreSQL part says why not
		names, err = barrier.RecentGroups(ctx, db)
		return err
	})
	return names
}
