package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// last is how many sagas of a process are started again.
const last = 100

// trip is the state of a saga.
type trip struct {
	Key    string
	Caller int
	// Refused says that the last step of the trip is refused, so that the others are undone.
	Refused bool
}

// booker starts sagas.
type booker struct {
	*sender
	made  atomic.Int64
	sagas []saga.Saga[trip]
}

// register registers the sagas: of each lane, one of local steps alone and one with a step of a
// participant. Two local steps at the beginning share a transaction where they may.
func (b *booker) register() {
	seat := saga.Local("seat", b.does("seat"), b.undoes("seat"))
	meal := saga.Local("meal", b.does("meal"), b.undoes("meal"))
	pay := saga.Message("pay", "trip.pay", "trip.refund")
	leave := saga.Local("leave", func(ctx context.Context, tx *gorm.DB, t *trip) error {
		if t.Refused {
			return saga.Refuse("sold out")
		}
		return b.does("leave")(ctx, tx, t)
	}, nil).NoUndo()
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		for name, steps := range map[string][]saga.Step[trip]{"local": {seat, meal, leave}, "paid": {seat, meal, pay, leave}} {
			b.sagas = append(b.sagas, saga.Saga[trip]{Name: string(lane) + "-" + name, Lane: lane, Steps: steps,
				Key: func(t trip) string { return t.Key }})
		}
	}
	slices.SortFunc(b.sagas, func(x, y saga.Saga[trip]) int { return strings.Compare(x.Name, y.Name) })
	for _, def := range b.sagas {
		b.w.Saga(def)
	}
	b.w.Participate(worker.Participant{Topic: "trip.pay", UndoTopic: "trip.refund",
		Do: func(_ context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
			return nil, mark(tx, m.Key, "do pay")
		},
		Undo: func(_ context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
			return nil, mark(tx, m.Key, "undo pay")
		}})
}

func (b *booker) does(step string) func(context.Context, *gorm.DB, *trip) error {
	return func(ctx context.Context, tx *gorm.DB, t *trip) error {
		if err := mark(tx, t.Key, "do "+step); err != nil {
			return err
		}
		return b.hangs(ctx, t.Caller)
	}
}

func (b *booker) undoes(step string) func(context.Context, *gorm.DB, *trip) error {
	return func(_ context.Context, tx *gorm.DB, t *trip) error { return mark(tx, t.Key, "undo "+step) }
}

func mark(tx *gorm.DB, key, what string) error {
	return tx.Exec("INSERT INTO marks VALUES (?, ?)", key, what).Error
}

// one notes a trip, so that another process can start it again, and takes it.
func (b *booker) one(caller int) error {
	n := b.made.Add(1)
	t := trip{Key: fmt.Sprintf("%s-%06d", b.name, n), Caller: caller, Refused: n%5 == 0}
	err := b.w.DB().Exec("INSERT INTO trips (key, saga, sender, caller, refused) VALUES (?, ?, ?, ?, ?)",
		t.Key, caller%len(b.sagas), b.name, t.Caller, t.Refused).Error
	if err != nil {
		return err
	}
	return b.take(caller%len(b.sagas), t)
}

// take starts a trip's saga, and notes how it has ended.
func (b *booker) take(def int, t trip) error {
	handle, err := worker.StartSaga(context.Background(), b.w, b.sagas[def], t)
	if err != nil {
		return err
	}
	_, err = handle.Wait(context.Background())
	how := "completed"
	if errors.Is(err, holdfast.ErrSagaCompensated) {
		how = "compensated"
	} else if err != nil {
		return err
	}
	return b.w.DB().Exec("UPDATE trips SET ended = ended || ? WHERE key = ?", how+" ", t.Key).Error
}

// again starts the last sagas of a process again, as its callers do that had no answer.
func (b *booker) again(of string) {
	var trips []struct {
		Key          string
		Saga, Caller int
		Refused      bool
	}
	err := b.w.DB().Raw(`SELECT * FROM trips WHERE sender = ? AND ended = '' UNION ALL
(SELECT * FROM trips WHERE sender = ? AND ended <> '' ORDER BY key DESC LIMIT ?)`, of, of, last).Scan(&trips).Error
	if err != nil {
		tell(err)
	}
	together := make(chan struct{}, callers)
	for _, t := range trips {
		together <- struct{}{}
		go func() {
			defer func() { <-together }()
			if err := b.take(t.Saga, trip{Key: t.Key, Caller: t.Caller, Refused: t.Refused}); err != nil {
				tell(err)
			}
		}()
	}
	for range callers {
		together <- struct{}{}
	}
	fmt.Println("did again " + of)
}
