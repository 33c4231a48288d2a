package worker_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// What messages carry is nowhere in clear, in either lane and in each form, and handlers get
// it as it was sent.
func TestSealedMessages(t *testing.T) {
	s := newSite(t)
	k, _ := aKeyring(t)
	mark := "mark-" + newID()
	x := s.watch(mark)
	var asked []string
	consumer := s.run(s.consumerOptions(k), payments(s.effects))
	defer consumer.stop()
	o := s.options()
	o.Keyring = k
	w := s.runWith(o, func(w *worker.Worker) {
		w.Local("registered", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			asked = append(asked, string(m.Body))
			return insert(ctx, tx, m)
		})
	})

	for _, lane := range []holdfast.Lane{holdfast.Express, holdfast.Traced} {
		t.Run(string(lane), func(t *testing.T) {
			m := func(body string) holdfast.Message {
				m := order(newID())
				m.Body, m.Lane = []byte(mark+" "+body), lane
				return m
			}
			as := func(m holdfast.Message, body string) {
				t.Helper()
				e := s.oneEffect(m.ID)
				require.Equal(t, mark+" "+body, e.Body)
				require.Equal(t, m.Key, e.Key)
			}

			plain := m("plain")
			r, err := w.Send(s.ctx(), plain, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				require.Equal(t, mark+" plain", string(m.Body))
				require.Equal(t, "text/plain", m.ContentType)
				return insert(ctx, tx, m)
			})
			require.NoError(t, err)
			require.Equal(t, mark+" plain", string(r.Messages[0].Body))
			require.Equal(t, "text/plain", r.Messages[0].ContentType)
			as(plain, "plain")

			completed := m("before")
			r, err = w.Send(s.ctx(), completed, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				m.Body = []byte(mark + " completed")
				return insert(ctx, tx, m)
			})
			require.NoError(t, err)
			require.Equal(t, mark+" completed", string(r.Messages[0].Body))
			as(completed, "completed")

			handled := m("handled")
			_, err = w.Start(s.ctx(), "registered", handled)
			require.NoError(t, err)
			require.Equal(t, mark+" handled", asked[len(asked)-1])
			as(handled, "handled")

			split := m("split")
			sp, err := w.Begin(s.ctx(), 0, split)
			require.NoError(t, err)
			require.NoError(t, s.orders.Transaction(func(tx *gorm.DB) error {
				if _, err := sp.Barrier(s.ctx(), tx); err != nil {
					return err
				}
				return sp.Store(s.ctx(), tx, func(ms []holdfast.Message) error {
					require.Equal(t, mark+" split", string(ms[0].Body))
					ms[0].Body = []byte(mark + " stored")
					return nil
				})
			}))
			r, err = sp.Commit(s.ctx())
			require.NoError(t, err)
			require.Equal(t, mark+" stored", string(r.Messages[0].Body))
			as(split, "stored")
		})
	}
	w.stop()
	require.Empty(t, x.finds())
}

// What the spy looks at is where messages are: without a keyring it finds them everywhere.
func TestUnsealedMessagesAreFound(t *testing.T) {
	s := newSite(t)
	mark := "mark-" + newID()
	x := s.watch(mark)
	w := s.producer()
	m := order(newID())
	m.Body, m.AllowUnrouted = []byte(mark), true
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
