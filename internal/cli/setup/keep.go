package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/metrics"
	"github.com/holdfastmq/holdfast/worker"
)

// keepFlags are the flags of holdfast keep.
type keepFlags struct {
	halfQueues int
	checkAfter time.Duration
	json       bool
	metrics    string
}

// NewKeep returns the command holdfast keep.
func NewKeep(a *frame.App) *cobra.Command {
	var f keepFlags
	c := &cobra.Command{
		Use:   "keep GROUP…",
		Short: "Keep producer groups whose programs are not written in Go",
		Long: `Run what producer groups need whose programs are written in another language
than Go: their half queues' Keepers, and the workers of their workflows. What
stays undecided is asked over RabbitMQ: the group's own processes answer the
queue PREFIX.check.GROUP, as docs/wire-format.md says. Several processes may
keep the same group: one is active, the others take over. Ctrl-C ends it in
good order.

It needs RabbitMQ and Temporal, no database. A group of programs in Go needs no
holdfast keep: its own workers do this, and read the outcome rows.

Metrics are those of a worker, with the label group. They name topics: serve
them where only Prometheus can reach them.

JSON: a line of the log is an object with time, level, msg and its attributes.`,
		Example: "  holdfast keep orders\n  holdfast keep orders invoices --half-queues 4 --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, groups []string) error {
			return runKeepers(cmd.Context(), a, groups, f)
		},
	}
	c.Flags().IntVar(&f.halfQueues, "half-queues", 0, "how many half queues each group has; the groups' programs must "+
		"use the same number (default 1)")
	c.Flags().DurationVar(&f.checkAfter, "check-after", 0, "the age at which an undecided half message is asked about "+
		"(default 10s)")
	c.Flags().BoolVar(&f.json, "json", false, "write the log as JSON")
	c.Flags().StringVar(&f.metrics, "metrics", "", frame.MetricsUsage)
	return c
}

// runKeepers runs a worker for each group until ctx is done, or until one cannot run.
func runKeepers(ctx context.Context, a *frame.App, groups []string, f keepFlags) error {
	seen := map[string]bool{}
	for _, group := range groups {
		if err := holdfast.ValidateName("group", group); err != nil {
			return text.Usage(err)
		}
		if seen[group] {
			return text.Usagef("group %s is named twice", group)
		}
		seen[group] = true
	}
	if err := frame.CheckMetrics(f.metrics); err != nil {
		return err
	}
	if a.AMQPURL == "" {
		return text.WithRemedy(errors.New("no RabbitMQ"), "set AMQP_URL, for example to amqp://user:password@host:5672/vhost")
	}
	logger := newLogger(a, f.json)
	o, err := a.TemporalOptions()
	if err != nil {
		return err
	}
	o.Logger = log.NewStructuredLogger(logger)
	c, err := client.NewLazyClient(o) // Run waits for the server, and says what to do
	if err != nil {
		return text.WithRemedy(fmt.Errorf("Temporal: %w", err), "check the variables TEMPORAL_…")
	}
	defer c.Close()

	shown, err := metrics.New()
	if err != nil {
		return err
	}
	workers := make([]*worker.Worker, len(groups))
	for i, group := range groups {
		meter, err := shown.With(map[string]string{"group": group})
		if err != nil {
			return err
		}
		workers[i], err = worker.New(worker.Options{Group: group, Temporal: c, Namespace: o.Namespace, AMQPURL: a.AMQPURL,
			Prefix: a.Prefix, RemoteCheck: true, CheckAfter: f.checkAfter, RollingUpgrade: a.RollingUpgrade,
			Tuning: worker.Tuning{HalfQueues: f.halfQueues}, Meter: meter, Logger: logger})
		if err != nil {
			return text.Usage(err)
		}
	}
	url, stop, err := frame.ServeMetrics(ctx, f.metrics, shown)
	if err != nil {
		return err
	}
	defer stop()
	if url != "" {
		logger.Info("metrics are served", "url", url)
	}
	running, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		running.Go(func() error {
			if err := w.Run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("keep group %s: %w", groups[i], err)
			}
			return nil
		})
	}
	return running.Wait()
}

// newLogger writes to the standard error.
func newLogger(a *frame.App, asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(a.Err, nil))
	}
	return slog.New(slog.NewTextHandler(a.Err, nil))
}
