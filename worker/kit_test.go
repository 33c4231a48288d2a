package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/worker"
)

// written is a table with what happened, in whichever order.
type written struct {
	ID   uint
	What string
}

func allWritten(t testing.TB, db *gorm.DB) (all []string) {
	t.Helper()
	require.NoError(t, db.Model(&written{}).Order("what").Pluck("what", &all).Error)
	return all
}

// compensated is a service whose payment consumer gives up, and what undoes what that
// means. It knows only a registry.
func compensated(r worker.Registry) {
	does := func(what string) worker.Handle {
		return func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
			return tx.Create(&written{What: what + " " + m.Key + " " + m.Topic}).Error
		}
	}
	undoes := func(what string) worker.Compensation {
		return func(_ context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
			return tx.Create(&written{What: what + " " + m.Key + " " + m.Topic + " " + f.Consumer + " " + string(f.Class)}).Error
		}
	}
	order := []string{placed}
	r.Consume(worker.Consumer{Name: "payments", Topics: order, DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensatePermanent},
		Handle: func(context.Context, *gorm.DB, holdfast.Message) error { return holdfast.Permanent(errOops) }})
	r.Consume(worker.Consumer{Name: "stock", Topics: order, Handle: does("reserve"), Undo: undoes("release")})
	r.Consume(worker.Consumer{Name: "mails", Topics: order, Handle: does("mail")})
	r.Consume(worker.Consumer{Name: "all", Topics: []string{"#"}, Handle: does("see")})
	r.Consume(worker.Consumer{Name: "books", Topics: []string{placed + holdfast.CompensatedSuffix}, Handle: does("book back")})
	r.Consume(worker.Consumer{Name: "half-hearted", Topics: []string{placed}, Undo: undoes("never"), Tries: 1, Ladder: []time.Duration{},
		Handle: func(context.Context, *gorm.DB, holdfast.Message) error { return holdfast.Permanent(errOops) }})
	r.Compensate(placed, undoes("refund"))
}

// TestTheKitCompensatesAsWorkersDo: the same service, registered with the testing kit
// and with a worker on real servers, does the same for a dead letter.
func TestTheKitCompensatesAsWorkersDo(t *testing.T) {
	t.Parallel()
	k := holdfasttest.NewWith(t, holdfasttest.Options{Group: group})
	require.NoError(t, k.DB().AutoMigrate(&written{}))
	compensated(k.Service(k.DB()))
	m := holdfast.Message{Topic: placed, Key: "K-1", Body: []byte("{}")}
	local := func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
		return tx.Create(&written{What: "place " + m.Key}).Error
	}
	require.NoError(t, k.Send(m, local).Err)
	require.Equal(t, "compensated", k.DeadLetter("payments").State)
	require.Equal(t, "parked", k.DeadLetter("half-hearted").State)
	want := allWritten(t, k.DB())
	require.Len(t, want, 7, want)

	s := newSite(t)
	require.NoError(t, s.orders.AutoMigrate(&written{}))
	for _, name := range []string{"payments", "stock", "mails", "all", "books", "half-hearted"} {
		s.consumers[name] = true
	}
	w := s.runWith(s.options(), func(w *worker.Worker) { compensated(w) })
	_, err := w.Send(t.Context(), m, local)
	require.NoError(t, err)
	until(t, "all is done, and undone", func() bool { return slices.Equal(want, allWritten(t, s.orders)) })
}
