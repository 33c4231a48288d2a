package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

const (
	// roleEnv says that this process is a child of the test, and which one.
	roleEnv = "HOLDFAST_TEST_CONSOLE"
	// troublesEnv names the folder of what is out of order: a file for each, with the error.
	troublesEnv = "HOLDFAST_TEST_CONSOLE_TROUBLES"
)

// theCommand is the role of the command holdfast; the others are those of programs.
const theCommand = "holdfast"

// order is what a program is told to do.
type order struct {
	// Saga is the saga to start, if any; else a transaction is begun and left undecided
	// (Undecided), or a message sent.
	Saga, Topic, Key, Body string
	Undecided              bool
}

// report is what came of it; the first one says that the program is ready.
type report struct{ ID, Error string }

func childMain(role string) int {
	if role == theCommand {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return cli.Main(ctx, os.Args[1:], frame.Process())
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err := run(role); err != nil {
		fmt.Fprintln(os.Stderr, "the program ends:", err)
		return 1
	}
	return 0
}

// run runs a program until its input ends.
func run(role string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := open(ctx, role)
	if err != nil {
		return err
	}
	start := programs[role](w)
	ended := make(chan error, 1)
	var all sync.WaitGroup
	all.Go(func() { ended <- w.Run(context.Background()) })
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(report{}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		id, err := follow(w, start, o)
		r := report{ID: id}
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	err = w.Close()
	all.Wait()
	return err
}

// groups are the groups of the programs; the others only consume.
var groups = map[string]string{"orders": "orders", "billing-1": "billing", "billing-2": "billing"}

func open(ctx context.Context, role string) (*worker.Worker, error) {
	return worker.Open(ctx, groups[role], func(o *worker.Options) {
		o.Instance = role
		o.CheckBack = worker.Schedule{Delays: []time.Duration{10 * time.Millisecond}, MaxChecks: 1}
	})
}

func follow(w *worker.Worker, start func(ctx context.Context, o order) (string, error), o order) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m := holdfast.Message{Topic: o.Topic, Key: o.Key, Body: []byte(o.Body)}
	switch {
	case o.Saga != "":
		return start(ctx, o)
	case o.Undecided:
		split, err := w.Begin(ctx, 0, m)
		if err != nil {
			return "", err
		}
		return split.ID(), nil
	}
	r, err := w.Send(ctx, m, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	return r.TxID, err
}

// trouble is what is out of order with something, if anything is.
func trouble(what string) error {
	text, err := os.ReadFile(filepath.Join(os.Getenv(troublesEnv), what))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return errors.New(string(text))
}

// deal is the state of all sagas here.
type deal struct{ Key string }

// local is a Do or an Undo that is out of order as long as the test says so.
func local(what string) func(context.Context, *gorm.DB, *deal) error {
	return func(_ context.Context, tx *gorm.DB, _ *deal) error {
		if err := trouble(what); err != nil {
			return holdfast.Permanent(err)
		}
		return tx.Exec("SELECT 1").Error
	}
}

// define is a saga of deals.
func define(name string, version int, steps ...saga.Step[deal]) saga.Saga[deal] {
	return saga.Saga[deal]{Name: name, Version: version, Key: func(d deal) string { return d.Key }, Steps: steps}
}

// starter registers sagas, and starts those of them.
func starter(w *worker.Worker, all ...saga.Saga[deal]) func(context.Context, order) (string, error) {
	by := map[string]saga.Saga[deal]{}
	for _, s := range all {
		w.Saga(s)
		by[s.Name] = s
	}
	return func(ctx context.Context, o order) (string, error) {
		h, err := worker.StartSaga(ctx, w, by[o.Saga], deal{Key: o.Key})
		if err != nil {
			return "", err
		}
		return h.ID(), nil
	}
}

// programs register what they do, and return what starts their sagas.
var programs = map[string]func(*worker.Worker) func(context.Context, order) (string, error){
	"orders": func(w *worker.Worker) func(context.Context, order) (string, error) {
		w.Check("order.odd", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
			return holdfast.Unknown, nil
		}))
		w.Compensate("order.placed", func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error { return nil })
		return starter(w,
			define("order", 1, saga.Local("create", local("create"), local("cancel")), saga.Local("pay", local("pay"), local("refund")).Park()),
			define("return", 1, saga.Local("take-back", local("take-back"), local("give-back")),
				saga.Local("inspect", func(context.Context, *gorm.DB, *deal) error { return saga.Refuse("it is broken") }, nil).NoUndo()),
			define("discount", 1, saga.Local("ask", local("ask"), local("forget")), saga.Wait("approve", 0).NoUndo(),
				saga.Local("grant", local("grant"), local("revoke"))),
		)
	},
	"billing-1": func(w *worker.Worker) func(context.Context, order) (string, error) {
		return starter(w, define("invoice", 1, saga.Local("number", local("number"), local("void"))))
	},
	"billing-2": func(w *worker.Worker) func(context.Context, order) (string, error) {
		return starter(w, define("invoice", 2, saga.Local("number", func(_ context.Context, tx *gorm.DB, _ *deal) error {
			if err := trouble("number"); err != nil {
				return err // it is tried again
			}
			return tx.Exec("SELECT 1").Error
		}, local("void")).Retry(saga.Retry{Attempts: 1_000_000, Max: 2 * time.Second})))
	},
	"payments": func(w *worker.Worker) func(context.Context, order) (string, error) {
		w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"},
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
				if err := trouble("payments"); err != nil {
					return holdfast.Permanent(err)
				}
				return nil
			}})
		w.Consume(worker.Consumer{Name: "mailer", Topics: []string{"mail.wanted"}, Tries: 1,
			Breaker:           worker.BreakerOptions{Failures: 2, Pause: time.Hour},
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return trouble("mailer") }})
		return nil
	},
	"books": func(w *worker.Worker) func(context.Context, order) (string, error) {
		w.Consume(worker.Consumer{Name: "books", Topics: []string{"book.entry"},
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
		return nil
	},
}
