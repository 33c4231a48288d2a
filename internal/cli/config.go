package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	holdfast "github.com/holdfastmq/holdfast"
)

// config is what the environment says, and then the global flags. Temporal's own
// part is read by its SDK.
type config struct {
	AMQPURL     string `env:"AMQP_URL"`
	DatabaseURL string `env:"DATABASE_URL"`
	Prefix      string `env:"HOLDFAST_PREFIX" envDefault:"holdfast"`
	Group       string `env:"HOLDFAST_GROUP"`
	UI          string `env:"HOLDFAST_TEMPORAL_UI"`
	Operator    string `env:"HOLDFAST_OPERATOR"`
	User        string `env:"USER"`
	NoColor     string `env:"NO_COLOR"`
	Term        string `env:"TERM"`
	TimeoutText string `env:"HOLDFAST_TIMEOUT"`

	// Management is where RabbitMQ's management API is.
	Management string `env:"HOLDFAST_RABBITMQ_MANAGEMENT"`

	// RollingUpgrade says that processes of an older version still run with the
	// prefix.
	RollingUpgrade bool `env:"HOLDFAST_ROLLING_UPGRADE"`

	// Timeout is how long the command may take; 0 means its own default.
	Timeout time.Duration

	prefixFlag  string
	timeoutFlag time.Duration

	environ []string // Temporal's own part is read from it
	clock   func() time.Time
}

// readEnvironment fills the config; clock is the time.
func (c *config) readEnvironment(environ []string, clock func() time.Time) error {
	c.environ, c.clock = environ, clock
	if err := env.ParseWithOptions(c, env.Options{Environment: env.ToMap(environ)}); err != nil {
		return usageError{fmt.Errorf("the environment: %w", err)}
	}
	return nil
}

// readFlags lets the global flags overrule the environment.
func (c *config) readFlags() error {
	if c.prefixFlag != "" {
		c.Prefix = c.prefixFlag
	}
	if c.TimeoutText != "" {
		var err error
		if c.Timeout, err = time.ParseDuration(c.TimeoutText); err != nil {
			return usagef("HOLDFAST_TIMEOUT: %w", err)
		}
	}
	if c.timeoutFlag != 0 {
		c.Timeout = c.timeoutFlag
	}
	if c.Timeout < 0 {
		return usageError{fmt.Errorf("the timeout %v is negative", c.Timeout)}
	}
	if err := holdfast.ValidateName("prefix", c.Prefix); err != nil {
		return usageError{err}
	}
	return nil
}

// environment is an environment as envconfig looks things up in it.
type environment []string

func (e environment) Environ() []string { return e }

// LookupEnv returns the last value, as a process would see it.
func (e environment) LookupEnv(name string) (value string, ok bool) {
	for _, entry := range e {
		if v, found := strings.CutPrefix(entry, name+"="); found {
			value, ok = v, true
		}
	}
	return value, ok
}

func (c *config) suggester() suggester { return suggester{c.prefixFlag} }

// bounded gives ctx the command's time limit, or otherwise, if neither the flag
// nor the environment sets one.
func (c *config) bounded(ctx context.Context, otherwise time.Duration) (context.Context, context.CancelFunc) {
	if c.Timeout > 0 {
		otherwise = c.Timeout
	}
	return context.WithTimeout(ctx, otherwise)
}

// defaultTimeout is how long a command that asks Temporal or a database may take.
const defaultTimeout = 30 * time.Second
