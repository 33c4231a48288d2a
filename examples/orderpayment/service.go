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
	"github.com/holdfastmq/holdfast/workflows"
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
	// How the payments' consumer takes failures.
	Ladder          []time.Duration `env:"HOLDFAST_LADDER"`
	BreakerFailures int             `env:"HOLDFAST_BREAKER_FAILURES"`
	BreakerPause    time.Duration   `env:"HOLDFAST_BREAKER_PAUSE"`
}

// service is a worker and what it is made of.
type service struct {
	config
	w        *worker.Worker
	db       *gorm.DB
	temporal client.Client
}

// open connects to the database and to Temporal, and makes the tables.
func open(ctx context.Context, group string, tables ...any) (*service, error) {
	var s service
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
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, err
	}
	options.Logger = temporallog.NewStructuredLogger(log)
	if s.temporal, err = client.DialContext(ctx, options); err != nil {
		return nil, fmt.Errorf("reach Temporal: %w", err)
	}
	s.w, err = worker.New(worker.Options{
		Group: group, Temporal: s.temporal, AMQPURL: s.AMQPURL, DB: s.db, Prefix: s.Prefix, Logger: log,
		CheckAfter: s.CheckAfter, CheckBack: workflows.Schedule{Delays: s.CheckBack, MaxChecks: s.MaxChecks},
		TaskTimeout: s.TaskTimeout, ReachTimeout: s.TaskTimeout, LockTimeout: s.LockTimeout,
	})
	return &s, err
}

// runOrders runs the order service until ctx is done.
func runOrders(ctx context.Context) error {
	s, err := open(ctx, "orders", &Order{}, &Refund{})
	if err != nil {
		return err
	}
	defer s.temporal.Close()
	s.w.Check(GiftGranted.Name, partner{})
	s.w.Compensate(OrderPlaced.Name, worker.TypedCompensation(OrderPlaced, refund))
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	orders := &orders{w: s.w, db: s.db}
	server := &http.Server{Handler: orders.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		select {
		case <-s.w.Ready():
			fmt.Println("order service ready on http://" + listener.Addr().String())
		case <-ctx.Done():
		}
		_ = server.Serve(listener) // ends when it is closed
	}()
	defer func() { _ = server.Close() }()
	return s.w.Run(ctx)
}

// runPayments runs the payment service until ctx is done.
func runPayments(ctx context.Context) error {
	s, err := open(ctx, "payments", &Payment{}, &Reservation{}, &GiftBooked{}, &Mood{})
	if err != nil {
		return err
	}
	defer s.temporal.Close()
	s.consumers()
	go func() {
		select {
		case <-s.w.Ready():
			fmt.Println("payment service ready")
		case <-ctx.Done():
		}
	}()
	return s.w.Run(ctx)
}
