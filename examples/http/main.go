// The program http is a shop whose orders are sagas behind an HTTP API: start, ask,
// approve, cancel. docs/http.md explains it.
package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	temporallog "go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	db, err := gorm.Open(postgres.Open(os.Getenv("DATABASE_URL")))
	check(err)
	check(db.AutoMigrate(&Order{}))
	check(barrier.Migrate(ctx, db)) // or: holdfast migrate
	options := envconfig.MustLoadDefaultClientOptions()
	options.Logger = temporallog.NewStructuredLogger(slog.Default())
	temporal, err := client.Dial(options)
	check(err)
	defer temporal.Close()

	s, err := newShop(temporal, worker.Options{AMQPURL: os.Getenv("AMQP_URL"), DB: db})
	check(err)
	check(s.serve(ctx, "127.0.0.1:8080"))
}

// serve runs the worker and the API until ctx is done. Requests end before the
// worker does, since they need it.
func (s *shop) serve(ctx context.Context, address string) error {
	running, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.w.Run(running) }()
	select {
	case <-s.w.Ready(): // before that, requests would be refused
	case err := <-done:
		return err
	}

	server := &http.Server{Addr: address, Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	case err = <-done:
		done <- nil
	}

	last, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(last))
	stop()
	return errors.Join(err, <-done)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
