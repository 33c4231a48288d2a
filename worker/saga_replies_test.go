package worker_test

import (
	"cmp"
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// counted runs a worker with a saga, and counts.
func (s *site) counted(def saga.Definition) (*running, func(name string) int64) {
	s.t.Helper()
	reader := sdk.NewManualReader()
	o := s.options()
	o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader))
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	return w, func(name string) (n int64) {
		var all metricdata.ResourceMetrics
		require.NoError(s.t, reader.Collect(context.Background(), &all))
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				if sum, is := m.Data.(metricdata.Sum[int64]); is && m.Name == name {
					for _, p := range sum.DataPoints {
						n += p.Value
					}
				}
			}
		}
		return n
	}
}

// call is what a saga's step seat asks.
func (s *site) call(b *broker.Broker, id string) broker.SagaCall {
	call := broker.SagaCall{Saga: id, Workflow: id, Group: group, Step: "seat", Replies: b.ReplyQueue(group), Topic: "seat.take"}
	if d, err := s.temporal.DescribeWorkflowExecution(s.ctx(), id, ""); err == nil {
		info := d.GetWorkflowExecutionInfo()
		call.Token = sagas.CallToken(cmp.Or(info.GetFirstRunId(), info.GetExecution().GetRunId()), id, "seat", false)
	}
	return call
}

func TestRepliesThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	w, count := s.counted(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.EqualValues(t, 1, count("holdfast.sagas.started"))
	until(t, "its end is counted", func() bool { return count("holdfast.sagas.ended") == 1 })
	b := s.broker()
	done := broker.SagaReply{Outcome: "done", Participant: "seat.take"}
	for n, id := range []string{
		workflows.SagaID(s.at.Prefix, group, "travel", j.ID),                 // it has ended
		workflows.SagaID(s.at.Prefix, group, "travel", "nobody"),             // it never was
		workflows.SagaID(s.at.Prefix, "other", "travel", "nobody"),           // another group's
		workflows.WorkflowID(s.at.Prefix, group, "no-saga-at-all"),           //
		workflows.SagaUndoID(workflows.SagaID(s.at.Prefix, group, "x", "y")), //
	} {
		require.NoError(t, b.PublishSagaReply(s.ctx(), s.call(b, id), done))
		until(t, "it is counted: "+id, func() bool { return count("holdfast.sagas.late_replies") == int64(n+1) })
	}
	until(t, "they are acknowledged", func() bool {
		messages, _ := s.waiting(b, b.ReplyQueue(group))
		return messages == 0
	})

	tx := newID()
	_, err = w.Begin(s.ctx(), time.Hour, order(tx))
	require.NoError(t, err)
	id := workflows.WorkflowID(s.at.Prefix, group, tx) // it runs, and is no saga
	require.NoError(t, b.PublishSagaReply(s.ctx(), s.call(b, id), done))
	until(t, "it is counted", func() bool { return count("holdfast.sagas.late_replies") == 6 })
	for _, e := range s.historyOf(id).Events {
		require.Nil(t, e.GetWorkflowExecutionSignaledEventAttributes())
	}
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), id, "", "the test is over"))
}

func TestTwoRepliesAndOneOfAnotherStep(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(saga.Wait("approve", 0), seat(), saga.Wait("again", 0))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	b := s.broker()
	reply := func(result string) {
		require.NoError(t, b.PublishSagaReply(s.ctx(), s.call(b, h.ID()), broker.SagaReply{Outcome: "done", Result: json.RawMessage(result)}))
	}
	reply(`"early"`) // before anybody asked
	until(t, "it is noted", func() bool { return s.sagaStatus(h.ID()).Late == 1 })

	s.participants(s.seats(nil))
	require.NoError(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	until(t, "it has its seat", func() bool { return s.sagaStatus(h.ID()).Step == "again" })
	reply(`"second"`)
	until(t, "it is noted", func() bool { return s.sagaStatus(h.ID()).Late == 2 })
	require.NoError(t, h.Approve(s.ctx(), "again", nil, worker.By{Operator: "ann", Reason: "fair"}))
	j, err = h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, "4a", j.Seat)
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
}

// TestReplyAfterTheTimeout: the saga has given the step up, and undone what came of
// it after all.
func TestReplyAfterTheTimeout(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat().Timeout(2*time.Second).Retry(once))
	w, count := s.counted(def)
	release := make(chan struct{})
	s.participants(s.seats(func(journey) error { <-release; return nil }))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it goes back", func() bool { return s.sagaStatus(h.ID()).State == core.StateCompensating })
	close(release)
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, "seat", e.Step)
	require.Contains(t, e.Reason, "2s")
	require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, j.ID))
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
	until(t, "the reply to the Do is noted", func() bool {
		var status sagas.Status
		require.NoError(t, s.temporal.GetWorkflow(s.ctx(), h.ID(), "").Get(s.ctx(), &status))
		return int64(status.Late)+count("holdfast.sagas.late_replies") > 0
	})
}

// TestParticipantThatIsNotThere: the saga goes back, and says why. That nobody can
// tell it that there is nothing to undo holds it up.
func TestParticipantThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat().Timeout(2*time.Second).Retry(once))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it goes back", func() bool { return s.sagaStatus(h.ID()).State == core.StateCompensating })
	require.Empty(t, s.logged(s.effects, j.ID))
	s.participants(s.seats(nil))
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, "seat", e.Step)
	require.Contains(t, e.Reason, "no participant is bound to topic seat.take: start it")
	require.Empty(t, s.logged(s.effects, j.ID), "what was not done is not undone")
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
}

func TestParticipantThatComesLater(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat())
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it has asked", func() bool { return s.sagaStatus(h.ID()).Core.Steps["seat"] != nil })
	s.participants(s.seats(nil))
	j, err = h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, "4a", j.Seat)
}

func TestParticipantThatGivesUp(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat())
	w := s.agency(def)
	var tries atomic.Int32
	p := s.seats(func(journey) error { tries.Add(1); return holdfast.Permanent(errOops) })
	s.participants(p)
	j, err := s.travels(w, def)
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, "seat", e.Step)
	require.Contains(t, e.Reason, "participant seat.take gave up at attempt 1: "+errOops.Error())
	require.EqualValues(t, 1, tries.Load())
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
	require.Empty(t, s.logged(s.effects, j.ID))
	b := s.broker()
	messages, _ := s.waiting(b, b.ConsumerQueue("seat.take"), b.DeadQueue())
	require.Zero(t, messages, "the saga knows: there is no dead letter")
}

func TestParticipantThatSucceedsLater(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(seat())
	w := s.agency(def)
	var tries atomic.Int32
	p := s.seats(func(journey) error {
		if tries.Add(1) <= 2 {
			return errOops
		}
		return nil
	})
	p.Ladder = []time.Duration{100 * time.Millisecond, 100 * time.Millisecond}
	s.participants(p)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
}

// TestMessageToAParticipantThatIsNoSagas becomes a dead letter, which says so.
func TestMessageToAParticipantThatIsNoSagas(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.producer()
	s.participants(s.seats(nil))
	b, id := s.broker(), newID()
	require.NoError(t, b.PublishMessages(s.ctx(), group, id, []holdfast.Message{{ID: id, Topic: "seat.take", Body: []byte("{}")}}))
	until(t, "it is a dead letter", func() bool {
		d, err := s.temporal.DescribeWorkflow(s.ctx(), s.deadID("seat.take", id), "")
		if err != nil {
			return false
		}
		summary, err := d.GetStaticSummary()
		require.NoError(t, err)
		require.Contains(t, summary, "is no saga's")
		return true
	})
}

// TestReplyToASagaWhoseProcessIsGone waits in the durable queue.
func TestReplyToASagaWhoseProcessIsGone(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("b"))
	w := s.agency(def)
	release, begun := make(chan struct{}), make(chan struct{}, 10)
	s.participants(s.seats(func(journey) error { begun <- struct{}{}; <-release; return nil }))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	next(t, begun)
	w.stop()
	close(release)
	b := s.broker()
	until(t, "the reply is kept", func() bool {
		messages, _ := s.waiting(b, b.ReplyQueue(group))
		return messages == 1
	})
	w = s.agency(def)
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	require.NoError(t, err)
	_ = h
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

func TestSagasAreShown(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	s.agency(def)
	b := s.broker()
	var answers []broker.ProcessStatus
	until(t, "the process answers", func() bool { // it listens a moment after it runs
		var err error
		answers, err = b.Ask(s.ctx(), time.Second)
		require.NoError(t, err)
		return len(answers) > 0
	})
	require.Len(t, answers, 1)
	require.Len(t, answers[0].Sagas, 1)
	shown := answers[0].Sagas[0]
	require.Equal(t, "orders travel 1", shown.Group+" "+shown.Name+" "+string(rune('0'+shown.Version)))
	var plan core.Plan
	require.NoError(t, json.Unmarshal(shown.Plan, &plan))
	require.Equal(t, "a", plan.Steps[0].Name)
}

// TestParticipantsOwnDatabase: one that lacks the tables stops the start.
func TestParticipantsOwnDatabase(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	bare := openDB(t, stacktest.Database(t, s.stack))
	w, err := worker.New(worker.Options{AMQPURL: s.at.AMQPURL, Prefix: s.at.Prefix, Timeouts: worker.Timeouts{Start: 30 * time.Second}})
	require.NoError(t, err)
	w.Participate(worker.Participant{Topic: "seat.take", DB: bare, Do: func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }})
	require.ErrorContains(t, w.Run(s.ctx()), "holdfast migrate")
}
