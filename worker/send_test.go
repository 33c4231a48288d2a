package worker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestSend(t *testing.T) { inLanes(t, testSend) }

func testSend(t *testing.T, l lane) {
	s := newSite(t)
	seen := &audit{}
	observer := s.consuming(payments(s.effects), seen.consumer())
	w := s.producer(l.set)

	t.Run("commit", func(t *testing.T) {
		m := order("")
		m.Key, m.Headers = "K-commit", map[string]string{"tenant": "sea", "CC": "not for AMQP"}
		receipt, err := w.Send(t.Context(), m, insert)
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, group, receipt.Group)
		require.Equal(t, workflows.WorkflowID(s.at.Prefix, group, receipt.TxID), receipt.WorkflowID)
		require.Equal(t, l.traced, receipt.RunID != "")
		m.ID = receipt.TxID
		require.Equal(t, []holdfast.Message{m}, receipt.Messages)
		require.Equal(t, 1, s.ordered(m.ID))
		require.Equal(t, effect{m.ID, placed, "K-commit", string(m.Body), `{"CC":"not for AMQP","tenant":"sea"}`}, s.oneEffect(m.ID))
		if l.traced {
			require.Equal(t, workflows.Committed, s.ended(m.ID).State)
			require.Empty(t, s.scheduled(m.ID), "the happy path has local activities only")
		} else {
			s.noWorkflow(m.ID)
		}
	})

	t.Run("the closure's error rolls back", func(t *testing.T) {
		id := newID()
		receipt, err := w.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			require.NoError(t, insert(ctx, tx, m))
			return errOops
		})
		require.ErrorIs(t, err, holdfast.ErrRolledBack)
		require.ErrorIs(t, err, errOops)
		require.Equal(t, holdfast.Rollback, receipt.Resolution)
		require.Empty(t, receipt.Messages)
		require.Zero(t, s.ordered(id))
		if l.traced {
			status := s.ended(id)
			require.Equal(t, workflows.RolledBack, status.State)
			require.Contains(t, status.Reason, errOops.Error())
		}
		s.neverDelivered(w, seen, id)
	})

	t.Run("a panic rolls back", func(t *testing.T) {
		id := newID()
		_, err := w.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			require.NoError(t, insert(ctx, tx, m))
			panic("man overboard")
		})
		require.ErrorIs(t, err, holdfast.ErrRolledBack)
		var p *holdfast.PanicError
		require.ErrorAs(t, err, &p)
		require.Equal(t, "man overboard", p.Value)
		require.Zero(t, s.ordered(id))
		if l.traced {
			require.Equal(t, workflows.RolledBack, s.ended(id).State)
		}
		s.neverDelivered(w, seen, id)
	})

	t.Run("a closure that ends after its caller's deadline rolls back", func(t *testing.T) {
		id := newID()
		ctx, cancel := context.WithCancel(t.Context())
		receipt, err := w.Send(ctx, order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			if err := insert(ctx, tx, m); err != nil {
				return err
			}
			cancel()
			<-ctx.Done()
			return nil // says that all is well, but nobody waits any more
		})
		require.Error(t, err)
		require.NotEqual(t, holdfast.Commit, receipt.Resolution)
		if l.traced {
			require.Equal(t, workflows.RolledBack, s.ended(id).State)
		}
		require.Zero(t, s.ordered(id))
	})

	t.Run("completed in the closure", func(t *testing.T) {
		id := newID()
		receipt, err := w.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			m.Body, m.Key, m.ContentType = []byte("number 42"), "N-42", "text/x-number"
			m.Headers = map[string]string{"number": "42"}
			return insert(ctx, tx, m)
		})
		require.NoError(t, err)
		want := holdfast.Message{ID: id, Topic: placed, Key: "N-42", ContentType: "text/x-number", Headers: map[string]string{"number": "42"}, Body: []byte("number 42")}
		require.Equal(t, []holdfast.Message{want}, receipt.Messages)
		require.Equal(t, effect{id, placed, "N-42", "number 42", `{"number":"42"}`}, s.oneEffect(id))
	})

	t.Run("the closure must not change the topic", func(t *testing.T) {
		id := newID()
		_, err := w.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			m.Topic = "order.cancelled"
			return insert(ctx, tx, m)
		})
		require.ErrorIs(t, err, holdfast.ErrRolledBack)
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		require.Zero(t, s.ordered(id))
	})

	t.Run("typed", func(t *testing.T) {
		type cargo struct{ Item string }
		topic := holdfast.Topic[cargo]{Name: placed}
		receipt, err := worker.SendValue(t.Context(), w.Worker, topic, "K-typed", cargo{"anchor"}, insert)
		require.NoError(t, err)
		require.Equal(t, `{"Item":"anchor"}`, s.oneEffect(receipt.TxID).Body)
		require.Equal(t, "application/json", receipt.Messages[0].ContentType)
	})

	t.Run("the largest body", func(t *testing.T) {
		m := order(newID())
		m.Body = []byte(strings.Repeat("\x00", holdfast.MaxBody)) // the worst case: base64
		m.ContentType = "application/octet-stream"
		done := make(chan int, 1)
		big := s.consuming(worker.Consumer{Name: "big", Topics: []string{"big"}, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
			done <- len(m.Body)
			return nil
		}})
		defer big.stop()
		m.Topic = "big"
		_, err := w.Send(t.Context(), m, insert)
		require.NoError(t, err)
		require.Equal(t, holdfast.MaxBody, next(t, done))
	})

	t.Run("the most messages with the longest keys", func(t *testing.T) {
		id := newID()
		ms := make([]holdfast.Message, holdfast.MaxMessages)
		for i := range ms {
			ms[i] = order("")
			ms[i].Key = strings.Repeat("k", holdfast.MaxName-3) + string(rune('a'+i/26)) + string(rune('a'+i%26))
		}
		ms[0].ID = id
		_, err := w.SendAll(t.Context(), ms, func(context.Context, *gorm.DB, []*holdfast.Message) error { return nil })
		require.NoError(t, err)
		until(t, "all effects", func() bool {
			return s.count(s.effects, "SELECT count(*) FROM effects WHERE message_id LIKE ?", id+".%") == holdfast.MaxMessages
		})
	})

	observer.stop()
	w.stop()
	require.Zero(t, s.drained(), "the op records settle every half message")
}

// noWorkflow requires that a transaction has no workflow.
func (s *site) noWorkflow(id string) {
	s.t.Helper()
	_, err := s.temporal.DescribeWorkflowExecution(s.ctx(), workflows.WorkflowID(s.at.Prefix, group, id), "")
	var unknown *serviceerror.NotFound
	require.ErrorAs(s.t, err, &unknown)
}

// neverDelivered requires that no delivery of id has come, nor can come any
// more: a message that was sent later has come already.
func (s *site) neverDelivered(w *running, seen *audit, id string) {
	s.t.Helper()
	later := s.sends(w, insert)
	until(s.t, "a later delivery", func() bool { return seen.of(later) > 0 && s.effected(later) > 0 })
	require.Zero(s.t, seen.of(id), "deliveries of %s", id)
	require.Zero(s.t, s.effected(id), "effects of %s", id)
}

func TestSendAll(t *testing.T) { inLanes(t, testSendAll) }

func testSendAll(t *testing.T, l lane) {
	s := newSite(t)
	seen := &audit{}
	s.consuming(payments(s.effects), seen.consumer())
	w := s.producer(l.set)
	three := func(id string) []holdfast.Message {
		return []holdfast.Message{{ID: id, Topic: placed, Body: []byte("a")}, {Topic: "order.packed", Body: []byte("b")}, {Topic: placed, Body: []byte("c")}}
	}

	id := newID()
	receipt, err := w.SendAll(t.Context(), three(id), func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		require.Equal(t, []string{id + ".1", id + ".2", id + ".3"}, []string{ms[0].ID, ms[1].ID, ms[2].ID})
		ms[1].Body = []byte("B")
		return tx.Exec("INSERT INTO orders (id) VALUES (?)", id).Error
	})
	require.NoError(t, err)
	require.Equal(t, id, receipt.TxID)
	require.Len(t, receipt.Messages, 3)
	require.Equal(t, "a", s.oneEffect(id+".1").Body)
	require.Equal(t, effect{MessageID: id + ".2", Topic: "order.packed", Body: "B", Headers: "null"}, s.oneEffect(id+".2"))
	require.Equal(t, "c", s.oneEffect(id+".3").Body)

	id = newID()
	_, err = w.SendAll(t.Context(), three(id), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		require.NoError(t, tx.Exec("INSERT INTO orders (id) VALUES (?)", id).Error)
		return errOops
	})
	require.ErrorIs(t, err, holdfast.ErrRolledBack)
	for _, n := range []string{".1", ".2", ".3"} {
		s.neverDelivered(w, seen, id+n)
	}
}

func TestDuplicateID(t *testing.T) { inLanes(t, testDuplicateID) }

func testDuplicateID(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := s.options()
	l.set(&o)
	place := func(w *worker.Worker) { w.Local("place", insert) }
	first, second := s.runWith(o, place), s.runWith(o, place)
	id := newID()
	_, err := first.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	for name, w := range map[string]*running{"same process": first, "other process": second} {
		_, err := w.Send(t.Context(), order(id), insert)
		require.ErrorIs(t, err, holdfast.ErrDuplicate, name)
		_, err = w.Begin(t.Context(), 0, order(id))
		require.ErrorIs(t, err, holdfast.ErrDuplicate, name)
		_, err = w.Start(t.Context(), "place", order(id))
		require.ErrorIs(t, err, holdfast.ErrDuplicate, name)
	}
	s.oneEffect(id)
	require.Equal(t, 1, s.ordered(id))

	// A transaction that rolled back has used its ID up, too.
	id = newID()
	_, err = first.Send(t.Context(), order(id), func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops })
	require.ErrorIs(t, err, holdfast.ErrRolledBack)
	_, err = second.Send(t.Context(), order(id), insert)
	require.ErrorIs(t, err, holdfast.ErrDuplicate)
	require.Zero(t, s.ordered(id))
}

// TestSameIDInAnotherGroup is about two groups that share a database: the
// outcome row belongs to the first.
func TestSameIDInAnotherGroup(t *testing.T) { inLanes(t, testSameIDInAnotherGroup) }

func testSameIDInAnotherGroup(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	first, second := s.producer(l.set), s.producer(l.set, func(o *worker.Options) { o.Group = "billing" })
	id := newID()
	_, err := first.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	receipt, err := second.Send(s.ctx(), order(id), insert)
	want := holdfast.ErrUndecided
	if !l.traced {
		want = holdfast.ErrDuplicate // the row is asked first
	}
	require.ErrorIs(t, err, want)
	require.Equal(t, holdfast.Unknown, receipt.Resolution)
	require.Equal(t, 1, s.ordered(id))
	s.oneEffect(id)
	if !l.traced {
		return
	}
	require.NoError(t, s.temporal.TerminateWorkflow(t.Context(), receipt.WorkflowID, "", "the test is over"))
}

// TestRepeatAfterUnavailable: what was certainly not run can be sent again, with
// the same ID.
func TestRepeatAfterUnavailable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	flaky := &cable{}
	o := s.options()
	o.Temporal = s.dial(flaky)
	w := s.runWith(o, func(w *worker.Worker) { w.Local("place", insert) })

	id := newID()
	flaky.failNext()
	_, err := w.Send(t.Context(), order(id), insert)
	var unavailable *holdfast.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Equal(t, "Temporal", unavailable.Part)
	_, err = w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	s.oneEffect(id)

	id = newID()
	flaky.failNext()
	_, err = w.Start(t.Context(), "place", order(id))
	require.ErrorIs(t, err, holdfast.ErrUndecided)
	_, err = w.Start(t.Context(), "place", order(id))
	require.NoError(t, err)
	s.oneEffect(id)

	id = newID()
	flaky.failNext()
	_, err = w.Begin(t.Context(), 0, order(id))
	require.ErrorAs(t, err, &unavailable)
	split, err := w.Begin(t.Context(), 0, order(id))
	require.NoError(t, err)
	_, err = split.Rollback(t.Context())
	require.NoError(t, err)
}

// TestAnswerOfStartLost: the workflow was started, but its caller was told that
// it was not.
func TestAnswerOfStartLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	flaky := &cable{}
	o := s.options()
	o.Temporal = s.dial(flaky)
	w := s.run(o)
	id := newID()
	flaky.loseNext()
	receipt, err := w.Send(t.Context(), order(id), insert)
	status := s.ended(id)
	if err == nil { // the closure had begun: the caller waited for it
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, workflows.Committed, status.State)
		s.oneEffect(id)
		require.Equal(t, 1, s.ordered(id))
		return
	}
	require.Equal(t, workflows.RolledBack, status.State)
	require.Zero(t, s.ordered(id))
	row, err := barrier.Read(t.Context(), s.orders, id)
	require.NoError(t, err)
	require.Equal(t, holdfast.Rollback, row.Resolution)
}
