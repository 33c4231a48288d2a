// The program http is a shop whose orders are sagas behind an HTTP API: start, ask,
// approve, cancel. docs/http.md explains it.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	w, err := worker.Open(ctx, "orders") // from AMQP_URL, DATABASE_URL and TEMPORAL_ADDRESS
	check(err)
	check(w.DB().AutoMigrate(&Order{}))
	check(barrier.Migrate(ctx, w.DB())) // in production: holdfast migrate
	check(newShop(w).serve(ctx, "127.0.0.1:8080"))
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
