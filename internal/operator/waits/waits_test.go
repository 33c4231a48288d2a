package waits

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

var lookedAt = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// looking returns a survey that was told what processes answered.
func looking(answers ...broker.ProcessStatus) *Survey {
	return &Survey{Config: &reach.Config{Prefix: "holdfast"}, Now: lookedAt, answers: answers, groups: map[string]*groupSight{}, Nudging: true, By: "ann", Why: "it runs"}
}

// running is a process with consumers of topics, each named as its topic.
func running(topics ...string) (p broker.ProcessStatus) {
	for _, topic := range topics {
		p.Consumers = append(p.Consumers, broker.ConsumerStatus{Name: topic, Topics: []string{topic}})
	}
	return p
}

// TestGroupsThatAreGone: Temporal goes on listing a process for minutes, and a group
// without consumers or sagas never answers: so each sign of life counts.
func TestGroupsThatAreGone(t *testing.T) {
	read, unread := []broker.QueueInfo{{Consumers: 1}}, []broker.QueueInfo{{Messages: 1}}
	unknown := errors.New("not reached")
	for name, c := range map[string]struct {
		g       groupSight
		unasked error
		want    bool
	}{
		"nobody polls":                                   {groupSight{halves: unread}, nil, true},
		"nobody polls, whoever answers":                  {groupSight{answering: true, halves: read}, nil, true},
		"polls, and answers":                             {groupSight{polling: server.Polling{Fresh: 1}, answering: true}, nil, false},
		"polls, and keeps its half queue":                {groupSight{polling: server.Polling{Fresh: 1}, halves: read}, nil, false},
		"polled a moment ago, and is not heard of":       {groupSight{polling: server.Polling{Fresh: 1}, halves: unread}, nil, true},
		"polled a moment ago, and nobody was asked":      {groupSight{polling: server.Polling{Fresh: 1}}, unknown, false},
		"who polls is not known, it answers":             {groupSight{unpolled: unknown, answering: true}, nil, false},
		"who polls is not known, and it is not heard of": {groupSight{unpolled: unknown}, nil, true},
		"nothing is known":                               {groupSight{unpolled: unknown}, unknown, false},
	} {
		require.Equal(t, c.want, c.g.gone(c.unasked), name)
	}
	at := func(ago time.Duration) *taskqueuepb.PollerInfo {
		return &taskqueuepb.PollerInfo{LastAccessTime: timestamppb.New(lookedAt.Add(-ago))}
	}
	require.Equal(t, server.Polling{Fresh: 1, Last: lookedAt.Add(-time.Second)}, server.PollingOf(lookedAt, []*taskqueuepb.PollerInfo{at(time.Minute), at(time.Second)},
		[]*taskqueuepb.PollerInfo{at(time.Minute), at(2 * time.Minute)}), "who polls for workflows only does not carry them out")
	require.Equal(t, 2, server.FreshPollers([]*taskqueuepb.PollerInfo{at(time.Minute), at(2 * time.Minute), {}}, lookedAt))
}

// TestWhatSagasWaitFor: by step and kind, with the next time something happens.
func TestWhatSagasWaitFor(t *testing.T) {
	began := lookedAt.Add(-time.Hour)
	plan := core.Plan{Name: "travel", Steps: []core.Step{{Name: "pay", Kind: core.Local}, {Name: "seat", Kind: core.Message, Topic: "seat.take", UndoTopic: "seat.leave", Timeout: 2 * time.Hour},
		{Name: "approval", Kind: core.Wait, Timeout: 3 * time.Hour}}}
	for name, c := range map[string]struct {
		step   string
		at     core.StepState
		since  bool
		what   string // it waits for; empty: for nothing
		next   time.Time
		nudged bool
	}{
		"a participant":          {"seat", core.StepState{Status: core.Running}, true, "participant seat.take", began.Add(2 * time.Hour), true},
		"a participant's Undo":   {"seat", core.StepState{Status: core.Undoing}, true, "participant seat.leave", began.Add(2 * time.Hour), true},
		"before it has called":   {"seat", core.StepState{Status: core.Running}, false, "", time.Time{}, false},
		"an answer":              {"approval", core.StepState{Status: core.Running}, true, "an answer: saga travel, step approval", began.Add(3 * time.Hour), false},
		"the next try":           {"pay", core.StepState{Status: core.Retrying, Began: began, Next: lookedAt.Add(time.Second)}, false, "the next try: saga travel, step pay", lookedAt.Add(time.Second), true},
		"the next try of Undo":   {"pay", core.StepState{Status: core.Reundoing, Began: began, Next: lookedAt.Add(time.Second)}, false, "the next try: saga travel, step pay", lookedAt.Add(time.Second), true},
		"a step that is done":    {"seat", core.StepState{Status: core.Done}, true, "", time.Time{}, false},
		"a step under way":       {"pay", core.StepState{Status: core.Running}, true, "", time.Time{}, false},
		"a step of another plan": {"gone", core.StepState{Status: core.Running}, true, "", time.Time{}, false},
	} {
		s := looking()
		status := sagaflow.Status{Plan: plan, Core: core.State{Steps: map[string]*core.StepState{c.step: &c.at}}, Since: map[string]time.Time{}}
		if c.since {
			status.Since[c.step] = began
		}
		s.noteSaga(sagas.Row{ID: "1", WorkflowID: "saga/g/travel/1", Name: "travel"}, status, true)
		all := s.Sorted()
		if c.what == "" {
			require.Empty(t, all, name)
			continue
		}
		require.Len(t, all, 1, name)
		require.Equal(t, []any{c.what, 1, true, began, c.next, []string{"1"}}, []any{all[0].For, all[0].Count, all[0].AtLeast, all[0].Since, all[0].Next, all[0].Examples}, name)
		if !c.nudged {
			require.Empty(t, s.Nudges, "an operator answers")
			continue
		}
		require.Equal(t, []Nudge{{ID: "saga/g/travel/1", For: c.what, Signal: sagaflow.UpdateRetry, arg: sagaflow.Request{Operator: "ann", Reason: "it runs", Step: c.step}}}, s.Nudges, name)
	}
}

// TestPausedSinceItWasListed: what a pause holds is not tried again by hand, which would end it.
func TestPausedSinceItWasListed(t *testing.T) {
	s := looking()
	plan := core.Plan{Name: "travel", Steps: []core.Step{{Name: "pay", Kind: core.Local}}}
	status := sagaflow.Status{Plan: plan, Core: core.State{Phase: core.Backwards, Paused: true,
		Steps: map[string]*core.StepState{"pay": {Status: core.Reundoing, Began: lookedAt, Next: lookedAt}}}}
	s.noteSaga(sagas.Row{ID: "1", WorkflowID: "saga/g/travel/1", Name: "travel"}, status, false)
	require.Empty(t, s.Nudges)
	require.Equal(t, "an operator who resumes it", s.Sorted()[0].For)
}

// TestMoreThanAreLookedAt: counts of what was cut off say so, and whoever tries again by hand is told
// that some are left.
func TestMoreThanAreLookedAt(t *testing.T) {
	s := looking()
	s.Asks = 10
	s.groups = map[string]*groupSight{"here": {polling: server.Polling{Fresh: 1}, answering: true}}
	rows := make([]sagas.Row, sagasListed)
	for i := range rows {
		rows[i] = sagas.Row{ID: fmt.Sprint(i), Group: "here", State: core.StateParked, Started: lookedAt}
	}
	s.lookSagas(t.Context(), rows[1:])
	require.False(t, s.Sorted()[0].AtLeast)
	s.lookSagas(t.Context(), rows)
	require.True(t, s.Sorted()[0].AtLeast)
	require.Empty(t, s.Unlooked())

	s.askSagas(t.Context(), nil, 3)
	require.Contains(t, s.Unlooked(), "3 workflows were not asked")
}

// TestWhatTransactionsWaitFor: a message that nobody hears goes on by itself, and so do
// check-backs; what an operator decides is left alone.
func TestWhatTransactionsWaitFor(t *testing.T) {
	unrouted := holdfast.ErrUnroutable.Error() + ": no consumer is bound to order.placed: see x"
	for name, c := range map[string]struct {
		m       txflow.MemberStatus
		what    string
		missing bool
		nudged  bool
	}{
		"nobody hears it":           {txflow.MemberStatus{State: workflows.Parked, Reason: unrouted}, "a consumer bound to order.placed", true, true},
		"somebody does by now":      {txflow.MemberStatus{State: workflows.Parked, Reason: holdfast.ErrUnroutable.Error() + ": no consumer is bound to order.paid;"}, "a consumer bound to order.paid", false, true},
		"of an older version":       {txflow.MemberStatus{State: workflows.Delivering, Reason: holdfast.ErrUnroutable.Error(), Topics: []string{"a", "b"}}, "a consumer bound to a", true, true},
		"parked":                    {txflow.MemberStatus{State: workflows.Parked, Reason: "asked for four hours"}, "an operator, parked", false, false},
		"RabbitMQ does not take it": {txflow.MemberStatus{State: workflows.Delivering, Reason: "no confirm"}, "RabbitMQ to take its messages", false, true},
		"undecided":                 {txflow.MemberStatus{State: workflows.Checking}, "a check-back of group g", false, true},
		"under way":                 {txflow.MemberStatus{State: workflows.Sending}, "its step, under way", false, false},
	} {
		s := looking(running("order.paid"))
		c.m.ID = "2"
		s.noteTransaction(transactions.Row{WorkflowID: "cohort/g/1", Group: "g", Started: lookedAt}, c.m, false)
		all := s.Sorted()
		require.Len(t, all, 1, name)
		require.Equal(t, []any{c.what, c.missing, false, []string{"tx/g/2"}}, []any{all[0].For, all[0].Missing, all[0].AtLeast, all[0].Examples}, name)
		if !c.nudged {
			require.Empty(t, s.Nudges, name)
			continue
		}
		require.Equal(t, []Nudge{{ID: "cohort/g/1", For: c.what, Signal: txflow.UpdateRecheck, arg: txflow.Request{Tx: "2", Operator: "ann", Reason: "it runs"}}}, s.Nudges, name)
	}
	s := looking()
	for _, state := range []workflows.State{workflows.Committed, workflows.RolledBack, workflows.Left} {
		s.noteTransaction(transactions.Row{WorkflowID: "cohort/g/1", Group: "g", Started: lookedAt}, txflow.MemberStatus{ID: "3", State: state}, false)
	}
	require.Empty(t, s.Sorted(), "the cohort of another one")
	require.Equal(t, "its topic", unroutedTopic(txflow.MemberStatus{}))
}

// TestConsumersThatHoldUp: breakers that are not closed, and queues that fill while nobody
// reads them.
func TestConsumersThatHoldUp(t *testing.T) {
	open := broker.ConsumerStatus{Name: "c", Breaker: broker.BreakerOpen, Since: lookedAt.Add(-time.Minute), Next: lookedAt.Add(time.Second), Handling: 1, Error: "down"}
	probing := broker.ConsumerStatus{Name: "c", Breaker: broker.BreakerProbing, Since: lookedAt.Add(-time.Hour), Next: lookedAt.Add(time.Minute)}
	for name, c := range map[string]struct {
		of      []broker.ConsumerStatus
		q       broker.QueueInfo
		runs    bool
		what    string // empty: nothing waits
		count   int
		missing bool
	}{
		"well":                                 {[]broker.ConsumerStatus{{Name: "c"}}, broker.QueueInfo{Messages: 9}, true, "", 0, false},
		"its breaker is open":                  {[]broker.ConsumerStatus{open, probing}, broker.QueueInfo{Messages: 9, Consumers: 1}, true, "the breaker of c", 10, false},
		"open, and nothing waits in the queue": {[]broker.ConsumerStatus{probing}, broker.QueueInfo{}, true, "the breaker of c", 1, false},
		"nobody runs it":                       {nil, broker.QueueInfo{Messages: 9}, false, "a process of consumer c", 9, true},
		"nobody runs it, nothing waits":        {nil, broker.QueueInfo{}, false, "", 0, false},
		"an older version reads it":            {nil, broker.QueueInfo{Messages: 9, Consumers: 1}, false, "", 0, false},
	} {
		var answers []broker.ProcessStatus
		for _, of := range c.of {
			answers = append(answers, broker.ProcessStatus{Consumers: []broker.ConsumerStatus{of}})
		}
		s := looking(answers...)
		s.noteConsumer("c", c.q, c.runs)
		all := s.Sorted()
		if c.what == "" {
			require.Empty(t, all, name)
			continue
		}
		require.Len(t, all, 1, name)
		require.Equal(t, []any{c.what, c.count, c.missing}, []any{all[0].For, all[0].Count, all[0].Missing}, name)
		if len(c.of) == 2 {
			require.Equal(t, []time.Time{probing.Since, open.Next}, []time.Time{all[0].Since, all[0].Next}, "the longest, and the next one")
		}
	}
}

// TestHalfQueuesAndGroups: records that nobody reads, and workflows without a process.
func TestHalfQueuesAndGroups(t *testing.T) {
	s := looking()
	for name, g := range map[string]*groupSight{
		"unread": {halves: []broker.QueueInfo{{Name: "q1", Messages: 2}}},
		"read":   {halves: []broker.QueueInfo{{Name: "q2", Messages: 2, Consumers: 1}}},
		"empty":  {halves: []broker.QueueInfo{{Name: "q3"}}},
		"idle":   {}, // nobody polls, and nothing waits
		"gone":   {open: 3, oldest: lookedAt.Add(-time.Hour), example: "saga/gone/x/1"},
		"half":   {open: 1, answering: true, example: "tx/half/1"},
		"late":   {open: 1, example: "tx/late/1", polling: server.Polling{Last: lookedAt.Add(-time.Minute)}},
	} {
		g.name = name
		s.groups[name] = g
	}
	s.tellGroups()
	said := map[string]string{}
	for _, w := range s.Sorted() {
		require.True(t, w.Missing, w.For)
		said[w.For] = w.Sentence(lookedAt)
	}
	require.Equal(t, map[string]string{
		"a Keeper of q1":          "2 records waiting: no process of group unread reads it: transactions that are undecided stay so",
		"a process of group gone": "3 workflows waiting, the oldest for 1h00m: no process polls task queue holdfast.gone; such as saga/gone/x/1",
		"a process of group half": "1 workflow waiting: processes of the group answer, but none polls Temporal: see their log; such as tx/half/1",
		"a process of group late": "1 workflow waiting: the last one asked Temporal for work 1m00s ago, and none answers; such as tx/late/1",
	}, said)
}

// TestWaitsAreCounted: the oldest, the next event, a few examples; what is missing comes
// first, and what counts nothing not at all.
func TestWaitsAreCounted(t *testing.T) {
	var ws waitList
	for i, id := range []string{"a", "b", "c", "d"} {
		ws.of(WaitSaga, "x").Note(id, lookedAt.Add(-time.Duration(i)*time.Minute), lookedAt.Add(time.Duration(4-i)*time.Minute))
	}
	ws.of(WaitSaga, "x").Note("e", time.Time{}, time.Time{})
	w := ws.of(WaitSaga, "x")
	require.Equal(t, Wait{Kind: WaitSaga, For: "x", Count: 5, Since: lookedAt.Add(-3 * time.Minute), Next: lookedAt.Add(time.Minute), Examples: []string{"a", "b", "c"}}, *w)
	ws.of(WaitTransaction, "x").Note("t", lookedAt.Add(-time.Hour), time.Time{})
	ws.of(WaitGroup, "nothing")
	gone := ws.of(WaitTransaction, "gone")
	gone.Note("u", lookedAt, time.Time{})
	gone.Missing = true
	older := ws.of(WaitSaga, "older")
	older.Note("s", lookedAt.Add(-time.Hour), time.Time{})
	require.Equal(t, []*Wait{gone, older, w, ws.of(WaitTransaction, "x")}, ws.Sorted())
}

// TestSagasAreAskedInTurn: a kind of sagas of which there are many does not hide another.
func TestSagasAreAskedInTurn(t *testing.T) {
	of := func(name string, n int) (rows []sagas.Row) {
		for i := range n {
			rows = append(rows, sagas.Row{ID: string(rune('0' + i)), Name: name})
		}
		return rows
	}
	rows := append(of("many", 5), of("few", 2)...)
	require.Len(t, spread(rows, 7), 7)
	require.Len(t, spread(rows, 3), 3)
	var got []string
	for _, r := range spread(rows, 5) {
		got = append(got, r.Name+r.ID)
	}
	require.Equal(t, []string{"many0", "few0", "many1", "few1", "many2"}, got)
}

// TestParkedTransactionsAreAskedByExample: of parked transactions that are alike, a few are asked
// why, so that there is time for others; all are where each is to be woken.
func TestParkedTransactionsAreAskedByExample(t *testing.T) {
	s := looking()
	s.Asks, s.Nudging = 20, false
	of := func(state workflows.State, topic string, n int) (rows []transactions.Row) {
		for i := range n {
			id := fmt.Sprintf("%s-%s-%d", state, topic, i)
			rows = append(rows, transactions.Row{Tx: id, WorkflowID: "tx/orders/" + id, Group: "orders", State: string(state), Topics: []string{topic}})
		}
		return rows
	}
	rows := slices.Concat(of(workflows.Parked, "a", 100), of(workflows.Parked, "b", 100), of(workflows.Delivering, "a", 8), of(server.StateRunning, "a", 3))
	count := func() map[string]int {
		asked, told := s.worthAsking(rows)
		require.Len(t, append(told, asked...), len(rows))
		n := map[string]int{}
		for _, r := range asked {
			n[r.State+" "+r.Topics[0]]++
		}
		return n
	}
	require.Equal(t, map[string]int{"parked a": 5, "parked b": 5, "delivering a": 8}, count())
	s.Nudging = true
	require.Equal(t, map[string]int{"parked a": 20}, count())

	s.guessed = true
	s.noteTransaction(rows[0], txflow.MemberStatus{ID: rows[0].Tx, State: workflows.Parked, Topics: []string{"a"}, Reason: unroutedText}, false)
	require.True(t, s.of(WaitTransaction, "a consumer bound to a").AtLeast, "others may lack it, too")
}

// TestSagasByState: only those are asked that can answer, and that have had time to wait.
func TestSagasByState(t *testing.T) {
	s := looking()
	s.Asks = 10 // none of these: there is nobody to ask
	s.groups = map[string]*groupSight{"here": {polling: server.Polling{Fresh: 1}, answering: true}, "gone": {}}
	old := lookedAt.Add(-time.Minute)
	s.lookSagas(t.Context(), []sagas.Row{
		{ID: "1", Group: "gone", State: core.StatePaused, Started: old},
		{ID: "2", Group: "here", State: core.StatePaused, Started: old},
		{ID: "3", Group: "here", State: core.StateNoWorker, Started: old},
		{ID: "4", Group: "here", State: core.StateParked, Started: old},
		{ID: "5", Group: "here", State: core.StateCompensationFailed, Started: old},
		{ID: "6", Group: "here", State: core.StateRunning, Started: lookedAt},
	})
	said := map[string]bool{}
	for _, w := range s.Sorted() {
		require.Equal(t, 1, w.Count)
		said[w.For] = w.Missing
	}
	require.Equal(t, map[string]bool{"an operator who resumes it": false, "a worker of group here that has its version": true, "an operator, parked": false,
		"an operator, compensation-failed": false}, said)
	require.Empty(t, s.Nudges)
}

// TestParticipantsThatAreThere: those that answer are slow, or behind their breaker, and
// what a plan names is not missed if somebody takes it.
func TestParticipantsThatAreThere(t *testing.T) {
	plan, err := json.Marshal(core.Plan{Steps: []core.Step{{Name: "a", Kind: core.Message, Topic: "a", UndoTopic: "b"}, {Name: "c", Kind: core.Message, Topic: "c"}, {Name: "d", Topic: "d"}}})
	require.NoError(t, err)
	p := running("a", "b")
	p.Sagas = []broker.SagaDefinition{{Name: "travel", Plan: plan}, {Name: "broken", Plan: []byte("{")}}
	s := looking(p)
	s.of(WaitSaga, "participant c").Note("1", lookedAt, time.Time{})
	s.lookUncalled(t.Context())
	require.Empty(t, s.Uncalled)

	w := s.of(WaitSaga, "participant a")
	s.lookParticipant(t.Context(), w, "a")
	require.False(t, w.Missing)
	require.Contains(t, w.Detail, "1 process with a, 0 messages in work: it is slow, or tries again")
	s.answers[0].Consumers[0].Breaker = broker.BreakerOpen
	s.lookParticipant(t.Context(), w, "a")
	require.False(t, w.Missing)
	require.Contains(t, w.Detail, "the breaker of a is open")
}

// TestParticipantsThatDoNotAnswer: by the queue, what is missing is told from what does
// not answer.
func TestParticipantsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	at := stacktest.Shared(t).AMQPURL()
	b, err := broker.Open(t.Context(), broker.Options{URL: at, Prefix: stacktest.Prefix(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close(context.WithoutCancel(t.Context()))) })
	s := looking(broker.ProcessStatus{Remembers: []broker.Bound{{Name: "seats", Topics: []string{"seat.take"}}}})
	s.Broker = b
	look := func() *Wait {
		w := &Wait{}
		s.lookParticipant(t.Context(), w, "seat.take")
		require.Empty(t, s.Unknown)
		return w
	}
	w := look()
	require.True(t, w.Missing)
	require.Contains(t, w.Detail, "it has no queue")
	require.NoError(t, b.DeclareConsumer(t.Context(), "seats", []string{"seat.take"}))
	defer stacktest.DeleteQueues(t, at, b.ConsumerQueue("seats"), b.AloneQueue("seats"))
	w = look()
	require.True(t, w.Missing)
	require.Contains(t, w.Detail, "its queue "+b.ConsumerQueue("seats")+" keeps 0 messages")
	require.Contains(t, w.Remedy, "start a process of participant seats")
	conn, err := amqp.Dial(at)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.Consume(b.ConsumerQueue("seats"), "", false, false, false, false, nil)
	require.NoError(t, err)
	w = look()
	require.False(t, w.Missing, "of a version that does not answer, or busy")
	require.Contains(t, w.Detail, "is read, but no process with it answers")
}
