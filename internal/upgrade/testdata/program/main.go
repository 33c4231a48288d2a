// Program is a process of TestRollingUpgrade, which builds it in the source of two versions.
// It consumes, and it does what the lines of its input say until that ends:
//
//	send  its callers send, one transaction after the other
//	hang  every other caller stays in its next local transaction; "hanging" says that all do
//	rest  its callers make no further call; "idle" says that none is in one
//
// and, with sagas instead of transactions, in their steps (sagas.go):
//
//	sagas       its callers start sagas, one after the other, and wait for their ends
//	again NAME  it starts the last sagas of the process NAME again, ended or not; "did again NAME"
//	            says that it knows how each has ended
//
// With the argument migrate it makes the tables, and ends.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
)

// callers is how many send at a time; every fourth one in the Traced lane.
const callers = 16

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "the program ends:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	name := os.Getenv("UPGRADE_NAME")
	w, err := worker.Open(ctx, "shop", func(o *worker.Options) {
		o.Instance, o.Lane, o.CheckAfter = name, holdfast.Express, 2*time.Second
		o.Timeouts.Send = 5 * time.Minute // those that hang do, until the process is killed
		o.Timeouts.Lock, o.Timeouts.Reach, o.Timeouts.Task = 500*time.Millisecond, time.Second, 5*time.Second
		o.CheckBack = worker.Schedule{Delays: []time.Duration{time.Second}, MaxChecks: 1000}
	})
	if err != nil {
		return err
	}
	if len(os.Args) > 1 && os.Args[1] == "migrate" {
		return errors.Join(barrier.Migrate(ctx, w.DB()), w.Close())
	}
	w.Consume(worker.Consumer{Name: "ledger", Topics: []string{"order.placed"},
		Handle: func(_ context.Context, tx *gorm.DB, m holdfast.Message) error {
			return tx.Exec("INSERT INTO effects VALUES (?, ?)", m.ID, m.Key).Error
		}})
	s := &sender{w: w, name: name}
	b := booker{sender: s}
	b.register()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, of, _ := strings.Cut(in.Text(), " ")
		switch what {
		case "send":
			s.call(s.one)
		case "sagas":
			s.call(b.one)
		case "again":
			go b.again(of)
		case "hang":
			s.hang.Store(true)
		case "rest":
			s.resting.Store(true)
			s.all.Wait()
			fmt.Println("idle")
		}
	}
	s.ending.Store(true)
	return w.Close()
}

type sender struct {
	w             *worker.Worker
	name          string
	hang, resting atomic.Bool
	ending        atomic.Bool // what callers note is not written any more, and they may wait for nothing more
	hanging       atomic.Int32
	all           sync.WaitGroup
}

// call has the callers make one call after the other.
func (s *sender) call(one func(caller int) error) {
	s.resting.Store(false)
	for i := range callers {
		s.all.Go(func() {
			for !s.resting.Load() {
				if err := one(i); errors.Is(err, holdfast.ErrNotRunning) {
					return
				} else if err != nil && !s.ending.Load() {
					tell(err)
				}
			}
		})
	}
}

// one makes a call.
func (s *sender) one(caller int) error {
	m := holdfast.Message{Topic: "order.placed", Key: s.name, Body: []byte("{}")}
	if caller%4 == 0 {
		m.Lane = holdfast.Traced
	}
	_, err := s.w.Send(context.Background(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		if err := tx.Exec("INSERT INTO orders VALUES (?, ?)", m.ID, m.Key).Error; err != nil {
			return err
		}
		return s.hangs(ctx, caller)
	})
	return err
}

// hangs hangs for every other caller, if it is to.
func (s *sender) hangs(ctx context.Context, caller int) error {
	if caller%2 != 0 || !s.hang.Load() {
		return nil
	}
	if s.hanging.Add(1) == callers/2 {
		fmt.Println("hanging")
	}
	<-ctx.Done()
	return ctx.Err()
}

// tell says what a caller was told: what others that are killed may bring about, or what is wrong.
func tell(err error) {
	for _, known := range []error{holdfast.ErrUndecided, holdfast.ErrDeliveryPending, holdfast.ErrRolledBack} {
		if errors.Is(err, known) {
			fmt.Println("told", known)
			return
		}
	}
	fmt.Println("wrong", err)
}
