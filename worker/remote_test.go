package worker_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// abroad is the process of a producer group in another language, as far as
// check-backs go.
type abroad struct {
	mu      sync.Mutex
	answers map[string]map[string]any // by transaction; without one it does not know
}

// say sets what is answered about a transaction.
func (f *abroad) say(id, resolution string, messages ...holdfast.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[id] = map[string]any{"tx": id, "resolution": resolution, "messages": messages}
}

func (f *abroad) answer(body []byte) []byte {
	var request struct{ Transactions []struct{ Tx string } }
	if err := json.Unmarshal(body, &request); err != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := []any{}
	for _, tx := range request.Transactions {
		answer, known := f.answers[tx.Tx]
		if !known {
			answer = map[string]any{"tx": tx.Tx, "resolution": "unknown", "error": "the ledger burnt"}
		}
		answers = append(answers, answer)
	}
	reply, err := json.Marshal(map[string]any{"v": 1, "answers": answers})
	if err != nil {
		return nil
	}
	return reply
}

// abroad starts such a process, which knows that these are committed.
func (s *site) abroad(committed ...string) *abroad {
	s.t.Helper()
	conn, err := amqp.Dial(s.at.AMQPURL)
	require.NoError(s.t, err)
	queue := s.at.Prefix + ".check." + group
	s.t.Cleanup(func() { stacktest.DeleteQueues(s.t, s.at.AMQPURL, queue) })
	s.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(s.t, err)
	_, err = ch.QueueDeclare(queue, true, false, false, false,
		amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": 100_000_000, "x-message-ttl": 10_000})
	require.NoError(s.t, err)
	requests, err := ch.Consume(queue, "", true, false, false, false, nil)
	require.NoError(s.t, err)
	f := &abroad{answers: map[string]map[string]any{}}
	for _, id := range committed {
		f.say(id, "commit")
	}
	go func() {
		for d := range requests {
			_ = ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{CorrelationId: d.CorrelationId, Body: f.answer(d.Body)})
		}
	}()
	return f
}

// keeper runs a worker that keeps a group whose processes are written in another
// language.
func (s *site) keeper(change ...func(*worker.Options)) *running {
	s.t.Helper()
	o := hurried(s.options())
	o.DB, o.RemoteCheck = nil, true
	for _, c := range change {
		c(&o)
	}
	return s.run(o)
}

// half stores a half message as such a process would, and leaves it undecided.
func (s *site) half(lane holdfast.Lane) string {
	s.t.Helper()
	id := newID()
	require.NoError(s.t, s.broker().PublishHalf(s.ctx(), holdfast.Half{TxID: id, Group: group, At: time.Now(), Lane: lane, Messages: []holdfast.Message{order(id)}}))
	return id
}

func TestRemoteCheck(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	f := s.abroad()
	s.keeper()
	for _, lane := range []holdfast.Lane{holdfast.Express, holdfast.Traced} {
		committed, changed, rolledBack := newID(), newID(), newID()
		f.say(committed, "commit")
		completed := order(changed)
		completed.Body, completed.Key = []byte("number 7"), "7"
		f.say(changed, "commit", completed)
		f.say(rolledBack, "rollback")
		b := s.broker()
		for _, id := range []string{committed, changed, rolledBack} {
			require.NoError(t, b.PublishHalf(s.ctx(), holdfast.Half{TxID: id, Group: group, Lane: lane, Messages: []holdfast.Message{order(id)}}))
		}
		require.Equal(t, "order "+committed, s.oneEffect(committed).Body)
		require.Equal(t, "number 7", s.oneEffect(changed).Body)
		if lane == holdfast.Traced { // a workflow of its own
			require.Equal(t, workflows.RolledBack, s.ended(rolledBack).State)
		}
		require.Zero(t, s.effected(rolledBack))
	}
}

// TestRemoteCheckUnreached: nobody of the group answers, then somebody does.
func TestRemoteCheckUnreached(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	s.keeper(func(o *worker.Options) {
		o.CheckBack = transactions.Schedule{Delays: []time.Duration{100 * time.Millisecond}, MaxChecks: 1}
	})
	id := s.half(holdfast.Traced)
	var status transactions.MemberStatus
	until(t, "it is checked back in vain", func() bool {
		v, err := s.temporal.QueryWorkflow(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "", workflows.QueryStatus)
		var all transactions.Status
		if err != nil || v.Get(&all) != nil {
			return false
		}
		status = all.Transactions[0]
		return status.Unreached > 2
	})
	require.Zero(t, status.Checks, "an answer that did not come is none")
	require.Equal(t, workflows.Checking, status.State, "and does not park")
	require.Contains(t, status.Reason, "there is no queue "+s.at.Prefix+".check."+group+": start a process of group "+group)
	s.abroad().say(id, "commit")
	until(t, "it ends", func() bool { return s.effected(id) == 1 || s.status(id).State == workflows.Parked })
	if s.effected(id) == 0 { // the process came up before it knew
		_, err := s.ask(id, transactions.UpdateRecheck)
		require.NoError(t, err)
	}
	require.Equal(t, workflows.Committed, s.ended(id).State)
}

// TestRemoteRecoveryUnreached: the same in the Express lane, where they wait
// together.
func TestRemoteRecoveryUnreached(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	s.keeper(func(o *worker.Options) {
		o.CheckBack = transactions.Schedule{Delays: []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, time.Minute}}
	})
	ids := []string{s.half(holdfast.Express), s.half(holdfast.Express)}
	s.waits()
	s.abroad(ids...)
	for _, id := range ids {
		s.oneEffect(id)
	}
	s.needNone(ids)
}

// TestRemoteCheckOperator: whoever has the database has the last word.
func TestRemoteCheckOperator(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	f := s.abroad()
	s.keeper(func(o *worker.Options) {
		o.CheckBack = transactions.Schedule{Delays: []time.Duration{50 * time.Millisecond}, MaxChecks: 1}
	})
	parked := func(t *testing.T) string {
		id := s.half(holdfast.Traced)
		until(t, "it is parked", func() bool {
			ids, err := s.list("WorkflowId = '" + workflows.WorkflowID(s.at.Prefix, group, id) + "' AND " + workflows.AttributeState + " = 'parked'")
			return err == nil && len(ids) == 1
		})
		require.Contains(t, s.status(id).Reason, "the ledger burnt")
		return id
	}
	force := func(r *transactions.Request) { r.Force = true }

	t.Run("nobody knows", func(t *testing.T) {
		id := parked(t)
		_, err := s.ask(id, transactions.UpdateCommit)
		require.ErrorContains(t, err, "the processes of group "+group+" cannot say: the ledger burnt")
		require.ErrorContains(t, err, "use force")
		status, err := s.ask(id, transactions.UpdateCommit, force)
		require.NoError(t, err)
		require.Equal(t, workflows.Committed, status.State)
		require.Equal(t, "order "+id, s.oneEffect(id).Body)
	})
	t.Run("the contrary is true", func(t *testing.T) {
		id := parked(t)
		changed := order(id)
		changed.Body = []byte("as committed")
		f.say(id, "commit", changed)
		_, err := s.ask(id, transactions.UpdateRollback, force)
		require.ErrorContains(t, err, "the processes of group "+group+" say commit")
		status, err := s.ask(id, transactions.UpdateCommit)
		require.NoError(t, err)
		require.Equal(t, workflows.Committed, status.State)
		require.Equal(t, "as committed", s.oneEffect(id).Body)
	})
	t.Run("the same is true", func(t *testing.T) {
		id := parked(t)
		f.say(id, "rollback")
		status, err := s.ask(id, transactions.UpdateRollback)
		require.NoError(t, err)
		require.Equal(t, workflows.RolledBack, status.State)
	})
}

func TestRemoteCheckInvalid(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options()
	o.RemoteCheck = true
	_, err := worker.New(o)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "no Options.DB")
	o.DB, o.Temporal = nil, nil
	_, err = worker.New(o)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	o.Temporal = s.temporal
	w, err := worker.New(o)
	require.NoError(t, err)
	w.Check(placed, holdfast.CheckerFunc(nil))
	require.ErrorContains(t, w.Run(t.Context()), "exclude each other")
}
