package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

const (
	// group is that of the process which has everything.
	group = "orders"
	// consumers is how many consumers have the dead letters.
	consumers = 10
	// awake is how many dead letters, the latest, have workflows that have begun, as all have in
	// life: the state by which they are listed and counted is there from the start, and to begin
	// takes more of the time than all else. The others begin a day later.
	awake = 2000
	// atOnce is how many things are made at the same time.
	atOnce = 32
)

// errorsSaid are what the dead letters died of.
var errorsSaid = []string{"the bank is closed", "no such order", "the card is stolen", "connection refused", "the shelf is locked",
	"no price", "the customer is unknown", "context deadline exceeded", "a field is missing", "no stock", "the address is wrong", "not allowed"}

// order is the state of the sagas.
type order struct{ Key string }

// fill is the child that makes things which wait: for each line, WHAT FROM TO ASLEEP, it makes those of
// these numbers, and answers with a line; dead letters below ASLEEP begin a day later. It ends with its
// input.
func fill() error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := worker.Open(ctx, group, func(o *worker.Options) {
		o.Instance = "orders-1"
		o.CheckBack = worker.Schedule{Delays: []time.Duration{10 * time.Millisecond}, MaxChecks: 1}
		o.Logger = slog.Default()
	})
	if err != nil {
		return err
	}
	w.Check("order.odd", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
		return holdfast.Unknown, nil
	}))
	for i := range consumers {
		w.Consume(worker.Consumer{Name: consumer(i), Topics: []string{topic(i)},
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	}
	orders := saga.Saga[order]{Name: "order", Version: 1, Key: func(o order) string { return o.Key }, Steps: []saga.Step[order]{
		saga.Local("pay", func(context.Context, *gorm.DB, *order) error { return holdfast.Permanent(errors.New("no card")) },
			func(context.Context, *gorm.DB, *order) error { return nil }).Park()}}
	w.Saga(orders)
	ended := make(chan error, 1)
	var all sync.WaitGroup
	all.Go(func() { ended <- w.Run(context.Background()) })
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	t, err := client.DialContext(ctx, client.Options{HostPort: os.Getenv("TEMPORAL_ADDRESS"), Namespace: os.Getenv("TEMPORAL_NAMESPACE"),
		Logger: log.NewStructuredLogger(slog.Default())})
	if err != nil {
		return err
	}
	defer t.Close()
	prefix := os.Getenv("HOLDFAST_PREFIX")
	asleep := 0
	makes := map[string]func(i int) error{
		"letters": func(i int) error {
			in := deadletters.Input{Prefix: prefix, Letter: letter(prefix, i)}
			o := deadletters.StartOptions(in)
			if i < asleep {
				o.StartDelay = 24 * time.Hour
			}
			_, err := t.ExecuteWorkflow(ctx, o, deadletters.Name, in)
			if errors.As(err, new(*serviceerror.WorkflowExecutionAlreadyStarted)) {
				return nil // of an earlier run
			}
			return err
		},
		"sagas": func(i int) error {
			_, err := worker.StartSaga(ctx, w, orders, order{Key: sagaKey(prefix, i)})
			return err
		},
		"transactions": func(i int) error {
			_, err := w.Begin(ctx, 0, holdfast.Message{Topic: "order.odd", Key: fmt.Sprintf("%s-tx-%d", prefix, i), Body: []byte(`{}`)})
			return err
		},
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var what string
		var from, to int
		if _, err := fmt.Sscan(in.Text(), &what, &from, &to, &asleep); err != nil {
			return err
		}
		var making errgroup.Group
		making.SetLimit(atOnce)
		for i := from; i < to; i++ {
			making.Go(func() error {
				// a busy Temporal does not answer in time
				for until := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
					err := makes[what](i)
					if err == nil || holdfast.IsPermanent(err) || time.Now().After(until) {
						return err
					}
				}
			})
		}
		if err := making.Wait(); err != nil {
			return fmt.Errorf("make %s: %w", what, err)
		}
		fmt.Println("made")
	}
	err = w.Close()
	all.Wait()
	return err
}

func consumer(i int) string                 { return fmt.Sprintf("consumer-%d", i%consumers) }
func topic(i int) string                    { return fmt.Sprintf("order.placed.%d", i%consumers) }
func sagaKey(prefix string, i int) string   { return fmt.Sprintf("%s-saga-%d", prefix, i) }
func letterID(i int) string                 { return fmt.Sprintf("letter-%d", i) }
func letterKey(prefix string, i int) string { return fmt.Sprintf("%s-letter-%d", prefix, i) }

// letter is a dead letter, as those who take dead letters in read it from the queue.
func letter(prefix string, i int) holdfast.DeadLetter {
	body := []byte(`{"order":` + fmt.Sprint(i) + `,"note":"` + strings.Repeat("x", 200) + `"}`)
	at := time.Now().Add(-time.Duration(i%1000) * time.Second)
	why := errorsSaid[i*7%len(errorsSaid)]
	return holdfast.DeadLetter{ID: letterID(i), Queue: prefix + ".q." + consumer(i), Size: len(body), Group: group, TxID: letterID(i),
		Message: holdfast.Message{ID: letterID(i), Topic: topic(i), Key: letterKey(prefix, i), Body: body, ContentType: "application/json"},
		Failure: holdfast.Failure{Consumer: consumer(i), Class: holdfast.ClassPermanent, Reason: why, Attempts: 1, At: at,
			Log: []holdfast.Attempt{{At: at, Class: holdfast.ClassPermanent, Error: why}}}}
}
