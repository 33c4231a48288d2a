// Program is a process of TestRollingUpgrade, which builds it in the source of two versions.
// It consumes, and it does what the lines of its input say until that ends:
//
//	send  its callers send, one transaction after the other
//	hang  every other caller stays in its next local transaction; "hanging" says that all do
//	rest  its callers make no further call; "idle" says that none is in one
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
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	fmt.Println("ready")
	s := &sender{w: w, name: name}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "send":
			s.send()
		case "hang":
			s.hang.Store(true)
		case "rest":
			s.resting.Store(true)
			s.all.Wait()
			fmt.Println("idle")
		}
	}
	return w.Close()
}

type sender struct {
	w             *worker.Worker
	name          string
	hang, resting atomic.Bool
	hanging       atomic.Int32
	all           sync.WaitGroup
}

func (s *sender) send() {
	s.resting.Store(false)
	for i := range callers {
		s.all.Go(func() {
			for !s.resting.Load() {
				if err := s.one(i); errors.Is(err, holdfast.ErrNotRunning) {
					return
				} else if err != nil {
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
		if caller%2 == 0 && s.hang.Load() {
			if s.hanging.Add(1) == callers/2 {
				fmt.Println("hanging")
			}
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	return err
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
