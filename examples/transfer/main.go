// Transfer moves money between two banks, each with a database of its own. Neither
// can see the other's, and still no cent is lost or made: a withdrawal whose deposit
// does not come about is undone.
//
//	holdfast dev -- go run ./examples/transfer
//
// It reads AMQP_URL, DATABASE_URL and Temporal's TEMPORAL_* variables, and makes two
// databases beside the one that DATABASE_URL names.
//
//	main.go  three transfers, and the banks' books afterwards
//	saga.go  the saga
//	bank.go  a bank: its accounts, and its part in the saga
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	temporallog "go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := run(ctx, stop); err != nil {
		stop()
		log.Fatal(err)
	}
}

// run runs both banks and whoever transfers, here in one process, and stops them
// after the last transfer.
func run(ctx context.Context, stop func()) error {
	options := envconfig.MustLoadDefaultClientOptions()
	options.Logger = temporallog.NewStructuredLogger(slog.Default())
	temporal, err := client.Dial(options)
	if err != nil {
		return err
	}
	defer temporal.Close()
	east, err := openBank(ctx, "east", Account{ID: "alice", Balance: 100})
	if err != nil {
		return err
	}
	west, err := openBank(ctx, "west", Account{ID: "bob", Balance: 50}, Account{ID: "carol", Balance: 7, Closed: true})
	if err != nil {
		return err
	}
	// Who transfers needs Temporal, and no database; a bank a database, and no
	// Temporal.
	transfers, err := worker.New(worker.Options{Group: "transfers", Temporal: temporal})
	if err != nil {
		return err
	}
	transfers.Saga(MoneyTransfer)
	running, ctx := errgroup.WithContext(ctx)
	for _, w := range []*worker.Worker{east.worker, west.worker, transfers} {
		running.Go(func() error { return w.Run(ctx) })
	}
	running.Go(func() error {
		defer stop()
		return showcase(ctx, transfers, east, west)
	})
	return running.Wait()
}

// showcase does three transfers: one that works, one that the first bank refuses,
// and one that the second does.
func showcase(ctx context.Context, w *worker.Worker, banks ...*bank) error {
	for _, b := range banks {
		select {
		case <-b.worker.Ready():
		case <-ctx.Done(): // it could not run
			return nil
		}
	}
	if err := books(ctx, banks); err != nil {
		return err
	}
	for _, t := range []Transfer{
		{From: "alice", To: "bob", Amount: 30},
		{From: "alice", To: "bob", Amount: 1000},
		{From: "alice", To: "carol", Amount: 20},
	} {
		t.ID = uuid.NewString()
		handle, err := worker.StartSaga(ctx, w, MoneyTransfer, t)
		if err != nil {
			return err
		}
		_, err = handle.Wait(ctx)
		var undone *holdfast.SagaError
		switch {
		case err == nil:
			fmt.Printf("%d from %s to %s: transferred\n", t.Amount, t.From, t.To)
		case errors.As(err, &undone) && errors.Is(err, holdfast.ErrSagaCompensated):
			fmt.Printf("%d from %s to %s: %s: %s\n", t.Amount, t.From, t.To, undone.Step, undone.Reason)
		default:
			return err
		}
		if err := books(ctx, banks); err != nil {
			return err
		}
	}
	return nil
}

// books prints what the banks hold.
func books(ctx context.Context, banks []*bank) error {
	var sum int64
	line := "  "
	for _, b := range banks {
		var accounts []Account
		if err := b.db.WithContext(ctx).Order("id").Find(&accounts).Error; err != nil {
			return err
		}
		for _, a := range accounts {
			line += fmt.Sprintf("%s %d, ", a.ID, a.Balance)
			sum += a.Balance
		}
	}
	_, err := fmt.Fprintf(os.Stdout, "%ssum %d\n", line, sum)
	return err
}
