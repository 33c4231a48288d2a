package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// says reports whether a worker has logged a line with all of these.
func (s *said) says(all ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		has := true
		for _, text := range all {
			has = has && strings.Contains(line, text)
		}
		if has {
			return true
		}
	}
	return false
}

// reading runs a worker that only consumes, with this keyring, and says what it logs.
func (s *site) reading(k holdfast.Keyring, c worker.Consumer, change ...func(*worker.Options)) (*running, *said) {
	s.t.Helper()
	log := &said{}
	o := s.consumerOptions(k)
	o.Logger, o.Timeouts.Drain = slog.New(log), 20*time.Second
	for _, c := range change {
		c(&o)
	}
	return s.run(o, c), log
}

// attempts is a consumer that notes the attempt of each message that it handles.
func attempts(db *gorm.DB, seen *atomic.Int64) worker.Consumer {
	c := payments(db)
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		d, _ := holdfast.DeliveryFrom(ctx)
		seen.Store(int64(d.Attempt))
		return take(ctx, tx, m)
	}
	return c
}

// A process without the keyring, or with one that does not have the key, leaves a message to
// others: it is neither handled nor given up, no try is counted, and the log says what to do.
func TestSealedMessageWithoutItsKey(t *testing.T) {
	other, _ := aKeyring(t)
	for name, wrong := range map[string]holdfast.Keyring{"no keyring": nil, "another one": other} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			k, _ := aKeyring(t)
			var tried atomic.Int64
			without, log := s.reading(wrong, attempts(s.effects, &tried))
			w := s.producer(with(k))
			m := order(newID())
			_, err := w.Send(s.ctx(), m, insert)
			require.NoError(t, err)
			until(t, "the process says that it cannot read it", func() bool {
				return log.says("a message waits for what its handler needs", m.ID, "HOLDFAST_KEYRING", k.List()[0].ID)
			})
			without.stop()
			require.Zero(t, s.effected(m.ID))
			require.Zero(t, tried.Load(), "the handler is not called")
			with, _ := s.reading(k, attempts(s.effects, &tried))
			require.Equal(t, "order "+m.ID, s.oneEffect(m.ID).Body)
			require.EqualValues(t, 1, tried.Load(), "no try was counted")
			s.nothingLeft(s.broker(), []string{"payments"}, with, w)
		})
	}
}

// What is not genuine is a dead letter at once, whatever is wrong with it, and no handler
// sees it.
func TestSealedMessageThatIsNotGenuine(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	s.producer(with(k)) // takes the dead letters in
	var handled atomic.Int64
	c := attempts(s.effects, &handled)
	s.reading(k, c)
	b := s.broker()
	sealed := func(m holdfast.Message) holdfast.Message {
		out, err := seal.New(k, holdfast.EncryptionOn).Message(s.ctx(), m)
		require.NoError(t, err)
		require.NotContains(t, string(out.Body), "order ")
		return out
	}
	flipped, moved, renamed, cut := sealed(order(newID())), sealed(order(newID())), sealed(order(newID())), sealed(order(newID()))
	flipped.Body = bytes.Clone(flipped.Body)
	flipped.Body[len(flipped.Body)/2] ^= 1
	moved.ID = newID()
	renamed.Topic = "order.paid"
	cut.Body = cut.Body[:8]
	for name, m := range map[string]holdfast.Message{"flipped": flipped, "moved": moved, "renamed": renamed, "cut": cut} {
		s.publish(b, m)
		parked := s.awaitLetter("payments", m.ID, workflows.Parked)
		require.Contains(t, parked.Failure.Reason, holdfast.ErrTampered.Error(), name)
		require.Equal(t, holdfast.ClassPermanent, parked.Failure.Class, name)
		require.Equal(t, 1, parked.Failure.Attempts, name)
	}
	require.Zero(t, handled.Load())
}

// Messages of before, and of processes that do not encrypt yet, are read; a process that
// requires encryption refuses them.
func TestMessagesInClearBesideSealedOnes(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	readOnly := s.producer(with(k), func(o *worker.Options) { o.Encryption = holdfast.EncryptionReadOnly })
	x := s.watch("order ")
	consumer, _ := s.reading(k, payments(s.effects))
	clear := order(newID())
	_, err := readOnly.Send(s.ctx(), clear, insert)
	require.NoError(t, err)
	require.Equal(t, "order "+clear.ID, s.oneEffect(clear.ID).Body)
	until(t, "it went in clear", func() bool { return len(x.finds()) > 0 })
	consumer.stop()

	strict := payments(s.effects)
	s.reading(k, strict, func(o *worker.Options) { o.Encryption = holdfast.EncryptionRequired })
	refused, sealed := order(newID()), order(newID())
	_, err = readOnly.Send(s.ctx(), refused, insert)
	require.NoError(t, err)
	parked := s.awaitLetter("payments", refused.ID, workflows.Parked)
	require.Contains(t, parked.Failure.Reason, "HOLDFAST_ENCRYPTION")
	_, err = s.producer(with(k)).Send(s.ctx(), sealed, insert)
	require.NoError(t, err)
	require.Equal(t, "order "+sealed.ID, s.oneEffect(sealed.ID).Body)
	require.Zero(t, s.effected(refused.ID))
}

// A sender cannot pass for Holdfast's encryption.
func TestContentTypeOfSealedMessagesIsReserved(t *testing.T) {
	s := newSite(t)
	w := s.producer()
	m := order(newID())
	m.ContentType = seal.SealedType
	_, err := w.Send(s.ctx(), m, insert)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	k, _ := aKeyring(t)
	large := order(newID())
	large.Body = make([]byte, holdfast.MaxBody)
	_, err = s.producer(with(k)).Send(s.ctx(), large, insert)
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.ErrorContains(t, err, "encrypted: ")
	_, err = worker.New(worker.Options{Group: group, AMQPURL: "amqp://127.0.0.1:1", Encryption: holdfast.EncryptionRequired})
	require.ErrorContains(t, err, "there is no keyring")
	_, err = worker.New(worker.Options{Group: group, AMQPURL: "amqp://127.0.0.1:1", Encryption: "yes"})
	require.ErrorContains(t, err, `encryption "yes"`)
	t.Setenv("HOLDFAST_KEYRING", t.TempDir()+"/none")
	_, err = worker.New(worker.Options{Group: group, AMQPURL: "amqp://127.0.0.1:1"})
	require.ErrorContains(t, err, "holdfast keyring new")
}

// After a rotation what was encrypted before is still read; a process whose file is the one
// of before waits for the new key, and goes on once it has it, without a restart.
func TestKeyringIsRotated(t *testing.T) {
	s := newSite(t)
	k, path := aKeyring(t)
	behind := t.TempDir() + "/behind.json"
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(behind, data, 0o600))
	late, err := keyring.Open(behind)
	require.NoError(t, err)
	var tried atomic.Int64
	consumer, log := s.reading(late, attempts(s.effects, &tried))
	defer consumer.stop()
	w := s.producer(with(k))
	before := order(newID())
	_, err = w.Send(s.ctx(), before, insert)
	require.NoError(t, err)
	s.oneEffect(before.ID)

	now, err := keyring.Rotate(path, false)
	require.NoError(t, err)
	until(t, "the sender has read the new key", func() bool {
		key, _, err := k.Seal(s.ctx(), nil, nil)
		return err == nil && key == now.ID
	})
	after := order(newID())
	r, err := w.Send(s.ctx(), after, insert)
	require.NoError(t, err)
	require.Equal(t, "order "+after.ID, string(r.Messages[0].Body))
	until(t, "the consumer lacks it", func() bool { return log.says(after.ID, "has no key", now.ID) })
	data, err = os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(behind+".new", data, 0o600))
	require.NoError(t, os.Rename(behind+".new", behind))
	require.Equal(t, "order "+after.ID, s.oneEffect(after.ID).Body)
	require.EqualValues(t, 1, tried.Load())
}

// A Keeper needs no key: what it hands over is delivered as it is.
func TestKeeperHandsSealedMessagesOver(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	mark := "mark-" + newID()
	x := s.watch(mark)
	o := hurried(s.options())
	s.run(o) // without a keyring
	s.reading(k, payments(s.effects))
	m := order(newID())
	m.Body = []byte(mark)
	sealed, err := seal.New(k, holdfast.EncryptionOn).Message(s.ctx(), m)
	require.NoError(t, err)
	require.NoError(t, s.broker().PublishHalf(s.ctx(), holdfast.Half{TxID: m.ID, Group: group, At: time.Now(), Lane: holdfast.Express,
		Messages: []holdfast.Message{sealed}}))
	require.NoError(t, s.commits(sealed), "and its process dies")
	require.Equal(t, mark, s.oneEffect(m.ID).Body)
	require.Empty(t, x.finds())
}

// A dead letter carries the ciphertext; compensation and its notice give the message as it
// was sent.
func TestSealedMessageIsCompensated(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	mark := "mark-" + newID()
	x := s.watch(mark)
	trouble := broken(holdfast.Permanent(errOops))
	c := failing(s.effects, trouble)
	c.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	undone := make(chan holdfast.Message, 1)
	shipping := worker.Consumer{Name: "shipping", Topics: []string{placed}, DB: s.effects, Handle: take,
		Undo: func(_ context.Context, _ *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
			undone <- m.Clone()
			return nil
		}}
	refunds := make(chan holdfast.Message, 1)
	w := s.runWith(func() worker.Options { o := s.options(); o.Keyring = k; return o }(), func(w *worker.Worker) {
		w.Compensate(placed, func(_ context.Context, _ *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
			refunds <- m.Clone()
			return nil
		})
	})
	s.reading(k, shipping)
	s.reading(k, c)
	m := order(newID())
	m.Body = []byte(mark)
	_, err := w.Send(s.ctx(), m, insert)
	require.NoError(t, err)
	got := next(t, refunds)
	require.Equal(t, mark+" text/plain "+m.ID+" "+placed, string(got.Body)+" "+got.ContentType+" "+got.ID+" "+got.Topic)
	got = next(t, undone)
	require.Equal(t, mark+" text/plain "+m.ID+" "+placed, string(got.Body)+" "+got.ContentType+" "+got.ID+" "+got.Topic)
	s.awaitLetter("payments", m.ID, workflows.Compensated)
	require.Empty(t, x.finds())
}

// A saga whose process does not have the key waits for one that has: nothing is tried, and
// nothing undone. A participant waits, too.
func TestSealedSagaWithoutItsKey(t *testing.T) {
	s := sagaSite(t)
	k, _ := aKeyring(t)
	def := travel(local("a"), saga.Wait("go", 0), local("b"), seat())
	first := s.sealedAgency(k, nil, nil, def)
	j := journey{ID: newID(), By: "train"}
	h, err := worker.StartSaga(s.ctx(), first.Worker, def, j)
	require.NoError(t, err)
	until(t, "it waits", func() bool { st, err := h.State(s.ctx()); return err == nil && st.State == core.StateWaiting })
	first.stop()

	without := s.agency(def)
	h = worker.JoinSaga(without.Worker, def, j.ID)
	require.NoError(t, h.Approve(s.ctx(), "go", nil, worker.By{Operator: "ann", Reason: "go"}))
	until(t, "no worker can read it", func() bool {
		st, err := h.State(s.ctx())
		return err == nil && st.State == core.StateNoWorker && strings.Contains(st.WaitsFor+st.Reason, "HOLDFAST_KEYRING")
	})
	_, err = h.Wait(func() context.Context {
		ctx, cancel := context.WithTimeout(s.ctx(), time.Second)
		t.Cleanup(cancel)
		return ctx
	}())
	require.ErrorIs(t, err, holdfast.ErrSagaPending)
	require.ErrorIs(t, err, holdfast.ErrNoKey, "its state cannot be read here")
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))

	log := &said{}
	o := worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: slog.New(log)}
	p := s.seats(nil)
	s.consumers[p.Topic] = true
	blind := s.runWith(o, func(w *worker.Worker) { w.Participate(p) })
	second := s.sealedAgency(k, nil, nil, def)
	until(t, "the participant says that it cannot read the call", func() bool {
		return log.says("a message waits for what its handler needs", "HOLDFAST_KEYRING")
	})
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
	blind.stop()
	s.sealedAgency(k, []worker.Participant{s.seats(nil)}, nil)
	got, err := worker.JoinSaga(second.Worker, def, j.ID).Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, "4a", got.Seat)
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
}

// A handler that is registered is run by a process that can read the message.
func TestSealedMessageOfARegisteredHandler(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	ran := make(chan string, 10)
	register := func(name string) func(*worker.Worker) {
		return func(w *worker.Worker) {
			w.Local("place", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				ran <- name + " " + string(m.Body)
				return insert(ctx, tx, m)
			})
		}
	}
	s.runWith(s.options(), register("blind"))
	o := s.options()
	o.Keyring = k
	w := s.runWith(o, register("reading"))
	for range 3 {
		m := order(newID())
		m.AllowUnrouted = true
		_, err := w.Start(s.ctx(), "place", m)
		require.NoError(t, err)
		require.Equal(t, "reading order "+m.ID, next(t, ran))
	}
}

// A body that is edited has to be encrypted by who edits it: under the content type of an
// encrypted one, clear text would be taken for one that was tampered with.
func TestSealedMessageIsEdited(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	trouble := broken(holdfast.Permanent(errOops))
	c := failing(s.effects, trouble)
	c.DeadLetters = holdfast.Policy{AllowEdits: true}
	s.reading(k, c)
	w := s.producer(with(k))
	m := order(newID())
	_, err := w.Send(s.ctx(), m, insert)
	require.NoError(t, err)
	s.awaitLetter("payments", m.ID, workflows.Parked)
	trouble.Store(nil)
	_, err = s.askLetter("payments", m.ID, deadletters.UpdateRedeliverEdited, func(r *deadletters.Request) { r.Text = "edited" })
	require.ErrorContains(t, err, "HOLDFAST_KEYRING")
	s.awaitLetter("payments", m.ID, workflows.Parked)
	require.Zero(t, s.effected(m.ID))
	edited := m
	edited.Body = []byte("edited")
	edited, err = seal.New(k, holdfast.EncryptionOn).Message(s.ctx(), edited)
	require.NoError(t, err)
	_, err = s.askLetter("payments", m.ID, deadletters.UpdateRedeliverEdited, func(r *deadletters.Request) {
		r.Base64, r.ContentType = edited.Body, edited.ContentType
	})
	require.NoError(t, err)
	require.Equal(t, "edited", s.oneEffect(m.ID).Body)
	s.awaitLetter("payments", m.ID, workflows.Handled)
}
