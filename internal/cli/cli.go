package cli

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/console"
	"github.com/holdfastmq/holdfast/internal/cli/dead"
	"github.com/holdfastmq/holdfast/internal/cli/dev"
	"github.com/holdfastmq/holdfast/internal/cli/doctor"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/cli/half"
	"github.com/holdfastmq/holdfast/internal/cli/keyring"
	"github.com/holdfastmq/holdfast/internal/cli/login"
	"github.com/holdfastmq/holdfast/internal/cli/saga"
	"github.com/holdfastmq/holdfast/internal/cli/setup"
	"github.com/holdfastmq/holdfast/internal/cli/tx"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Main runs the program with args, which do not include its name, and returns
// the exit status. It returns when ctx is done at the latest, once what it
// started is stopped.
func Main(ctx context.Context, args []string, s frame.Surroundings) int {
	s.Out, s.Err = text.Plain(s.Out), text.Plain(s.Err)
	a := &frame.App{Surroundings: s}
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := a.ReadEnvironment(s.Environ, s.Now)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	return endWith(a, root, err)
}

// endWith prints err and returns the exit status.
func endWith(a *frame.App, root *cobra.Command, err error) int {
	var status frame.StatusError
	switch {
	case err == nil:
		return frame.ExitOK
	case errors.As(err, &status):
		return int(status)
	}
	text.PrintError(a.Err, err)
	var usage text.UsageError
	if !a.Began || errors.As(err, &usage) {
		text.Printf(a.Err, "Run '%s --help' for usage.\n", root.Name())
		return frame.ExitUsage
	}
	return frame.ExitError
}

func newRootCommand(a *frame.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Transactional messages for RabbitMQ, coordinated by Temporal",
		Long: `holdfast starts a private stack to develop against, checks an installation,
shows and settles transactions and dead letters, steers sagas, and shows what
the Keepers of half queues hold.

Environment:
  AMQP_URL              RabbitMQ, amqp://user:password@host:5672/vhost, or
                        amqps://; several with commas between
  HOLDFAST_AMQP_CA, HOLDFAST_AMQP_CERT, HOLDFAST_AMQP_KEY
                        files for TLS with RabbitMQ
  DATABASE_URL          PostgreSQL, postgres://user:password@host:5432/database
  TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…
                        Temporal, as for its own tools
  HOLDFAST_PREFIX       as --prefix
  HOLDFAST_GROUP        as --group of saga start and saga diagram
  HOLDFAST_TIMEOUT      as --timeout
  HOLDFAST_OPERATOR     as --operator of what acts on transactions, dead letters
                        and sagas; else USER
  HOLDFAST_LOGIN        the file that keeps the login of holdfast login
  HOLDFAST_ROLLING_UPGRADE
                        1 while processes of an older version still run
  HOLDFAST_KEYRING      the keyring that shows what is encrypted
  HOLDFAST_ENCRYPTION   on, read-only or required: what is done with it
  HOLDFAST_HASH_KEYS    on where the application hashes its business keys: those
                        that are typed are hashed likewise
  HOLDFAST_SIGNING_KEYRING
                        the keys that sign control records
  HOLDFAST_SIGNING      on, off or required: what is done with them
  HOLDFAST_RABBITMQ_MANAGEMENT
                        as --rabbitmq-management of doctor
  HOLDFAST_TEMPORAL_UI  Temporal's web UI, such as http://localhost:8233
  NO_COLOR              no colours, also on a terminal

Errors go to the standard error. The exit status is 0, 1 for an error, 2 for a
wrong usage.`,
		Example: "  holdfast dev -- go run ./cmd/shop\n  holdfast doctor --group orders\n" +
			"  holdfast tx list --state parked",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&a.PrefixFlag, "prefix", "", "prefix of all queues and task queues (default $HOLDFAST_PREFIX, or "+
		"holdfast)")
	flags.DurationVar(&a.TimeoutFlag, "timeout", 0, "how long the command may take (default $HOLDFAST_TIMEOUT, or 30s; "+
		"doctor: 10s; dead and saga, for several: 1h)")
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		return cmp.Or(frame.NoneEmpty(c, args), a.ReadFlags())
	}
	root.AddCommand(
		console.New(a),
		setup.NewConsumers(a),
		dead.New(a),
		dev.NewDemo(a),
		dev.New(a),
		doctor.New(a),
		half.New(a),
		setup.NewKeep(a),
		keyring.New(a),
		login.New(a),
		login.NewLogout(a),
		setup.NewMigrate(a),
		doctor.NewRetryNow(a),
		saga.New(a),
		setup.NewTopology(a),
		tx.New(a),
		setup.NewVersion(a),
		doctor.NewWaiting(a),
	)
	noteBegin(a, root)
	return root
}

// noteBegin makes every command below c note that its arguments were right: an
// error before that is a wrong usage.
func noteBegin(a *frame.App, c *cobra.Command) {
	for _, sub := range c.Commands() {
		noteBegin(a, sub)
	}
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.Began = true
			return run(cmd, args)
		}
	}
}
