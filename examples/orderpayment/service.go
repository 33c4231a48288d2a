package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/caarlos0/env/v11"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	temporallog "go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
)

// config is read from the environment; Temporal's part by its own library.
type config struct {
	DatabaseURL string `env:"DATABASE_URL,required"`
	AMQPURL     string `env:"AMQP_URL,required"`
	Listen      string `env:"LISTEN" envDefault:"127.0.0.1:8090"`
	Prefix      string `env:"HOLDFAST_PREFIX" envDefault:"holdfast"`
	// How patient to be; empty means Holdfast's defaults.
	CheckAfter  time.Duration   `env:"HOLDFAST_CHECK_AFTER"`
	CheckBack   []time.Duration `env:"HOLDFAST_CHECK_BACK"`
	MaxChecks   int             `env:"HOLDFAST_MAX_CHECKS"`
	TaskTimeout time.Duration   `env:"HOLDFAST_TASK_TIMEOUT"`
	LockTimeout time.Duration   `env:"HOLDFAST_LOCK_TIMEOUT"`
	// How long an order waits for its approval.
	Approval time.Duration `env:"APPROVAL_TIMEOUT" envDefault:"24h"`
	// How consumers and participants take failures.
	Ladder          []time.Duration `env:"HOLDFAST_LADDER"`
	BreakerFailures int             `env:"HOLDFAST_BREAKER_FAILURES"`
	BreakerPause    time.Duration   `env:"HOLDFAST_BREAKER_PAUSE"`
}

// service is a worker and what it is made of.
type service struct {
	config
	w     *worker.Worker
	db    *gorm.DB
	close func() // ends the connection to Temporal, if there is one
}

// open connects to the database and, where group is given, to Temporal, and makes
// the tables. A service without a group takes part in the sagas of others, and
// needs no Temporal.
func open(ctx context.Context, group string, tables ...any) (*service, error) {
	s := service{close: func() {}}
	err := env.Parse(&s.config)
	if err != nil {
		return nil, err
	}
	s.db, err = gorm.Open(postgres.Open(s.DatabaseURL), &gorm.Config{Logger: logger.Default.LogMode(logger.Silent)})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := s.db.WithContext(ctx).AutoMigrate(tables...); err != nil {
		return nil, fmt.Errorf("make the tables: %w", err)
	}
	if err := barrier.Migrate(ctx, s.db); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	o := worker.Options{
		Group: group, AMQPURL: s.AMQPURL, DB: s.db, Prefix: s.Prefix, Logger: log,
		CheckAfter: s.CheckAfter, CheckBack: worker.Schedule{Delays: s.CheckBack, MaxChecks: s.MaxChecks},
		Timeouts: worker.Timeouts{Task: s.TaskTimeout, Reach: s.TaskTimeout, Lock: s.LockTimeout},
		Tuning:   worker.Tuning{MaxSagaCohort: 1}, // so that Temporal's UI shows each saga from its first step on
	}
	if group != "" {
		if o.Temporal, err = dialTemporal(ctx, log); err != nil {
			return nil, err
		}
		s.close = o.Temporal.Close
	}
	s.w, err = worker.New(o)
	return &s, err
}

func dialTemporal(ctx context.Context, log *slog.Logger) (client.Client, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, err
	}
	options.Logger = temporallog.NewStructuredLogger(log)
	temporal, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("reach Temporal: %w", err)
	}
	return temporal, nil
}

// run runs the service until ctx is done, and says when it is ready.
func (s *service) run(ctx context.Context, ready string) error {
	defer s.close()
	go func() {
		select {
		case <-s.w.Ready():
			fmt.Println(ready)
		case <-ctx.Done():
		}
	}()
	return s.w.Run(ctx)
}

// runOrder runs the order service until ctx is done.
func runOrder(ctx context.Context) error {
	s, err := open(ctx, "orders", &Order{}, &Refund{})
	if err != nil {
		return err
	}
	s.w.Check(GiftGranted.Name, partner{})
	s.w.Compensate(OrderPlaced.Name, worker.TypedCompensation(OrderPlaced, refund))
	def := orderPayment(s.Approval)
	s.w.Saga(def)
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	orders := &orders{w: s.w, db: s.db, saga: def}
	server := &http.Server{Handler: orders.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends when it is closed
	defer func() { _ = server.Close() }()
	return s.run(ctx, "order service ready on http://"+listener.Addr().String())
}

// runStock runs the stock service until ctx is done.
func runStock(ctx context.Context) error {
	s, err := open(ctx, "", &Item{}, &Reservation{})
	if err != nil {
		return err
	}
	if err := fillStock(s.db.WithContext(ctx)); err != nil {
		return err
	}
	s.stockService()
	return s.run(ctx, "stock service ready")
}

// runPayment runs the payment service until ctx is done.
func runPayment(ctx context.Context) error {
	s, err := open(ctx, "payments", &Payment{}, &GiftBooked{}, &Mood{})
	if err != nil {
		return err
	}
	s.paymentService()
	return s.run(ctx, "payment service ready")
}

// runShipping runs the shipping service until ctx is done.
func runShipping(ctx context.Context) error {
	s, err := open(ctx, "", &Shipment{}, &Mood{})
	if err != nil {
		return err
	}
	s.shippingService()
	return s.run(ctx, "shipping service ready")
}
