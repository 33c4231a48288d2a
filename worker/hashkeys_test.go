package worker_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// hashing has a worker hash keys with k.
func hashing(k holdfast.Keyring) func(*worker.Options) {
	return func(o *worker.Options) { o.Keyring, o.HashKeys = k, true }
}

// hashed is a business key of a test's own, and its hash.
func hashed(t testing.TB, k holdfast.Keyring) (clear, hash string) {
	t.Helper()
	clear = "ann-" + newID() + "@example.com"
	hash, err := holdfast.HashKey(t.Context(), k, clear)
	require.NoError(t, err)
	return clear, hash
}

// A key that the application gives is nowhere in clear, in either lane and in each form, also where
// it is the local transaction that gives it; and handlers, compensations and receipts have the hash.
func TestKeysOfMessagesAreHashed(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	clear, hash := hashed(t, k)
	x := s.watch(clear)
	var passed atomic.Pointer[string] // what a handler sends on
	consumes := payments(s.effects)
	refuses := failing(s.effects, broken(holdfast.Permanent(errOops)))
	refuses.Name, refuses.Topics, refuses.DeadLetters = "refuses", []string{"order.refused"}, holdfast.Policy{Action: holdfast.PolicyCompensate}
	undone := make(chan string, 10)
	var given []string
	o := s.options()
	hashing(k)(&o)
	o.SendMiddleware = []worker.SendMiddleware{func(next worker.Sending) worker.Sending {
		return func(ctx context.Context, out *worker.Outgoing) (holdfast.Receipt, error) {
			given = append(given, out.Messages[0].Key)
			return next(ctx, out)
		}
	}}
	w := s.runWith(o, func(w *worker.Worker) {
		w.Local("registered", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			if m.Key != hash {
				return holdfast.Permanent(errors.New("the handler has another key: " + m.Key))
			}
			m.Key = clear
			return insert(ctx, tx, m)
		})
		w.Compensate("order.refused", func(_ context.Context, _ *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
			undone <- m.Key
			return nil
		})
	})
	consumes.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if id := passed.Load(); id != nil && m.ID != *id {
			on := order(*id)
			on.Key = m.Key
			if _, err := w.Send(ctx, on, insert); err != nil && !errors.Is(err, holdfast.ErrDuplicate) {
				return err
			}
		}
		return take(ctx, tx, m)
	}
	s.run(s.consumerOptions(k), consumes, refuses)

	for _, lane := range []holdfast.Lane{holdfast.Express, holdfast.Traced} {
		t.Run(string(lane), func(t *testing.T) {
			m := func(key string) holdfast.Message {
				m := order(newID())
				m.Key, m.Lane = key, lane
				return m
			}
			arrives := func(m holdfast.Message) {
				t.Helper()
				require.Equal(t, hash, s.oneEffect(m.ID).Key)
			}
			for _, key := range []string{clear, hash} {
				sent := m(key)
				r, err := w.Send(s.ctx(), sent, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
					require.Equal(t, hash, m.Key)
					return insert(ctx, tx, m)
				})
				require.NoError(t, err)
				require.Equal(t, hash, r.Messages[0].Key)
				arrives(sent)
				require.Equal(t, key, given[len(given)-1], "a middleware sees what it is given")
			}
			require.Empty(t, func() string {
				none := m("")
				_, err := w.Send(s.ctx(), none, insert)
				require.NoError(t, err)
				return s.oneEffect(none.ID).Key
			}())

			completed := m("before")
			_, err := w.Send(s.ctx(), completed, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				m.Key = clear
				return insert(ctx, tx, m)
			})
			require.NoError(t, err)
			arrives(completed)

			several := []holdfast.Message{m(clear), m("other"), m(clear)}
			r, err := w.SendAll(s.ctx(), several, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
				ms[1].Key = clear
				return insert(ctx, tx, ms[0])
			})
			require.NoError(t, err)
			require.Equal(t, []string{clear, "other", clear}, []string{several[0].Key, several[1].Key, several[2].Key}, "the caller's are the caller's")
			for _, m := range r.Messages {
				arrives(m)
			}

			handled := m(clear)
			_, err = w.Start(s.ctx(), "registered", handled)
			require.NoError(t, err)
			arrives(handled)

			split := m(clear)
			sp, err := w.Begin(s.ctx(), 0, split)
			require.NoError(t, err)
			require.NoError(t, s.orders.Transaction(func(tx *gorm.DB) error {
				if _, err := sp.Barrier(s.ctx(), tx); err != nil {
					return err
				}
				return sp.Store(s.ctx(), tx, func(ms []holdfast.Message) error {
					require.Equal(t, hash, ms[0].Key)
					ms[0].Key = clear
					return nil
				})
			}))
			_, err = sp.Commit(s.ctx())
			require.NoError(t, err)
			arrives(split)

			on := newID()
			passed.Store(&on)
			first := m(clear)
			_, err = w.Send(s.ctx(), first, insert)
			require.NoError(t, err)
			arrives(first)
			require.Equal(t, hash, s.oneEffect(on).Key)
			passed.Store(nil)

			lost := m(clear)
			lost.Topic = "order.refused"
			_, err = w.Send(s.ctx(), lost, insert)
			require.NoError(t, err)
			require.Equal(t, hash, next(t, undone))
			s.awaitLetter("refuses", lost.ID, workflows.Compensated)
		})
	}
	w.stop()
	require.Empty(t, x.finds())
}

// The key of a saga is nowhere in clear, in either lane. A second start joins the first, whether
// it gives the key or its hash, and so does JoinSaga; participants have the hash, and may join by it.
func TestKeysOfSagasAreHashed(t *testing.T) {
	s := sagaSite(t)
	k, _ := aKeyring(t)
	keys := make(chan string, 100)
	seats := s.seats(nil)
	do := seats.Do
	seats.Do = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		keys <- m.Key
		return do(ctx, tx, m)
	}
	def := travel(local("a"), seat())
	express := quickTravel(local("a"), seat())
	express.Name = "quick"
	own := travel(local("a"), seat())
	own.Name, own.Key = "own", nil
	w := s.keyedAgency(hashing(k), k, []worker.Participant{seats}, nil, def, express, own)
	sends := s.options()
	hashing(k)(&sends)
	sends.SendOnly = true
	client := s.run(sends)

	var clears []string
	for range 2 {
		clear, _ := hashed(t, k)
		clears = append(clears, clear)
	}
	x := s.watch(clears...)
	for i, def := range []saga.Saga[journey]{def, express} {
		t.Run(def.Name, func(t *testing.T) {
			clear := clears[i]
			hash, err := holdfast.HashKey(s.ctx(), k, clear)
			require.NoError(t, err)
			byHash := def
			byHash.Key = func(journey) string { return hash }
			first := journey{ID: clear, By: "train"}
			h, err := worker.StartSaga(s.ctx(), w.Worker, def, first)
			require.NoError(t, err)
			require.Contains(t, h.ID(), hash)
			for _, again := range []saga.Saga[journey]{def, byHash} {
				for _, from := range []*running{w, client} {
					joins, err := worker.StartSaga(s.ctx(), from.Worker, again, first)
					require.NoError(t, err)
					require.Equal(t, h.ID(), joins.ID())
				}
			}
			require.Equal(t, hash, next(t, keys))
			for _, key := range []string{clear, hash} {
				joined := worker.JoinSaga(w.Worker, def, key)
				require.Equal(t, h.ID(), joined.ID())
				end, err := joined.Wait(s.ctx())
				require.NoError(t, err)
				require.Equal(t, "4a", end.Seat)
			}
			require.Equal(t, []string{"do a"}, s.logged(s.orders, clear), "once")
			require.NoError(t, h.Compensate(s.ctx(), worker.By{Operator: "ann", Reason: "no more"}))
			until(t, "it is undone", func() bool { return slices.Contains(s.logged(s.orders, clear), "undo a") })
		})
	}
	h, err := worker.StartSaga(s.ctx(), w.Worker, own, journey{ID: newID()})
	require.NoError(t, err)
	require.Equal(t, h.ID(), worker.JoinSaga(w.Worker, own, next(t, keys)).ID(), "by the key that a participant got")
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	w.stop()
	require.Empty(t, x.finds())
}

// Without the option keys are found everywhere: the spy looks where they are.
func TestKeysAreFoundWhereTheyAreNotHashed(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	clear, _ := hashed(t, k)
	x := s.watch(clear)
	w := s.producer(with(k))
	m := order(newID())
	m.Key, m.AllowUnrouted = clear, true
	_, err := w.Send(s.ctx(), m, insert)
	require.NoError(t, err)
	s.ended(m.ID)
	found := map[string]bool{}
	until(t, "it is found everywhere", func() bool {
		for _, f := range x.finds() {
			found[f[:8]] = true
		}
		return found["RabbitMQ"] && found["PostgreS"] && found["Temporal"]
	})
}

// away is a keyring whose service is away, unless it is nil.
type away struct {
	*keyring.File
	err error
}

func (a away) Digest(ctx context.Context, data []byte) ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	return a.File.Digest(ctx, data)
}

// HashKeys needs a keyring, and a value that says yes or no; and where the keyring cannot be asked,
// nothing is done, and nothing is sent in clear.
func TestHashKeysNeedsItsKeyring(t *testing.T) {
	o := worker.Options{Group: group, AMQPURL: "amqp://127.0.0.1:1", HashKeys: true}
	_, err := worker.New(o)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "HOLDFAST_KEYRING")
	o.HashKeys = false
	t.Setenv("HOLDFAST_HASH_KEYS", "on")
	_, err = worker.New(o)
	require.ErrorContains(t, err, "HOLDFAST_KEYRING")
	k, _ := aKeyring(t)
	o.Keyring = k
	t.Setenv("HOLDFAST_HASH_KEYS", "yes")
	_, err = worker.New(o)
	require.ErrorContains(t, err, `HOLDFAST_HASH_KEYS is "yes": want on or off`)
	t.Setenv("HOLDFAST_HASH_KEYS", "off")
	_, err = worker.New(o)
	require.NoError(t, err)

	t.Setenv("HOLDFAST_HASH_KEYS", "")
	s := sagaSite(t)
	w := s.producer(hashing(away{k, errOops}))
	m := order(newID())
	_, err = w.Send(s.ctx(), m, insert)
	var e *holdfast.UnavailableError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, errOops)
	require.Equal(t, holdfast.PartKeyring, e.Part)
	require.NotContains(t, err.Error(), m.Key)
	require.Zero(t, s.ordered(m.ID))
	def := travel(local("a"))
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: "ann@example.com"})
	require.ErrorIs(t, err, errOops)
	require.NotContains(t, err.Error(), "ann@")
	h := worker.JoinSaga(w.Worker, def, "ann@example.com")
	require.Empty(t, h.ID())
	_, err = h.Wait(s.ctx())
	require.ErrorIs(t, err, errOops)
	require.ErrorIs(t, h.Pause(s.ctx(), worker.By{Operator: "ann", Reason: "r"}), errOops)
}
