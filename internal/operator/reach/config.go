package reach

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
)

// Config is what the environment says, and then the global flags. Temporal's own
// part is read by its SDK.
type Config struct {
	AMQPURL     string `env:"AMQP_URL"`
	AMQPCA      string `env:"HOLDFAST_AMQP_CA"`
	AMQPCert    string `env:"HOLDFAST_AMQP_CERT"`
	AMQPKey     string `env:"HOLDFAST_AMQP_KEY"`
	DatabaseURL string `env:"DATABASE_URL"`
	Prefix      string `env:"HOLDFAST_PREFIX" envDefault:"holdfast"`
	Group       string `env:"HOLDFAST_GROUP"`
	UI          string `env:"HOLDFAST_TEMPORAL_UI"`
	Operator    string `env:"HOLDFAST_OPERATOR"`
	User        string `env:"USER"`
	LoginPath   string `env:"HOLDFAST_LOGIN"`
	NoColor     string `env:"NO_COLOR"`
	Term        string `env:"TERM"`
	TimeoutText string `env:"HOLDFAST_TIMEOUT"`

	// Management is where RabbitMQ's management API is.
	Management string `env:"HOLDFAST_RABBITMQ_MANAGEMENT"`

	// RollingUpgrade says that processes of an older version still run with the
	// prefix.
	RollingUpgrade bool `env:"HOLDFAST_ROLLING_UPGRADE"`

	// KeyringPath and Encryption are as in the options of a worker.
	KeyringPath string              `env:"HOLDFAST_KEYRING"`
	Encryption  holdfast.Encryption `env:"HOLDFAST_ENCRYPTION"`
	// HashKeys is "on" where business keys are hashed: see Key.
	HashKeys string `env:"HOLDFAST_HASH_KEYS"`

	// SigningKeyringPath and Signing are as in the options of a worker.
	SigningKeyringPath string           `env:"HOLDFAST_SIGNING_KEYRING"`
	Signing            holdfast.Signing `env:"HOLDFAST_SIGNING"`

	// Timeout is how long the command may take; 0 means its own default.
	Timeout time.Duration

	PrefixFlag  string
	TimeoutFlag time.Duration

	environ []string // Temporal's own part is read from it
	Clock   func() time.Time
}

// ReadEnvironment fills the config; clock is the time.
func (c *Config) ReadEnvironment(environ []string, clock func() time.Time) error {
	c.environ, c.Clock = environ, clock
	if err := env.ParseWithOptions(c, env.Options{Environment: env.ToMap(environ)}); err != nil {
		return text.Usage(fmt.Errorf("the environment: %w", err))
	}
	return nil
}

// ReadFlags lets the global flags overrule the environment.
func (c *Config) ReadFlags() error {
	if c.PrefixFlag != "" {
		c.Prefix = c.PrefixFlag
	}
	if c.TimeoutText != "" {
		var err error
		if c.Timeout, err = time.ParseDuration(c.TimeoutText); err != nil {
			return text.Usagef("HOLDFAST_TIMEOUT: %w", err)
		}
	}
	if c.TimeoutFlag != 0 {
		c.Timeout = c.TimeoutFlag
	}
	if c.Timeout < 0 {
		return text.Usage(fmt.Errorf("the timeout %v is negative", c.Timeout))
	}
	if err := holdfast.ValidateName("prefix", c.Prefix); err != nil {
		return text.Usage(err)
	}
	return nil
}

// PrefixOfEnvironment reports whether the prefix was named by HOLDFAST_PREFIX.
func (c *Config) PrefixOfEnvironment() bool {
	v, _ := environment(c.environ).LookupEnv("HOLDFAST_PREFIX")
	return v != "" && c.PrefixFlag == ""
}

// Box opens what is encrypted, and encrypts what is given to a command, as the environment
// says.
func (c *Config) Box() (*seal.Box, error) {
	if err := c.Encryption.Validate(); err != nil {
		return nil, text.Usage(fmt.Errorf("HOLDFAST_ENCRYPTION: %w", err))
	}
	if c.KeyringPath == "" && c.Encryption == holdfast.EncryptionRequired {
		return nil, text.Usagef("HOLDFAST_ENCRYPTION is %s, and there is no keyring: set HOLDFAST_KEYRING", c.Encryption)
	}
	hashes, err := seal.HashKeysSetting(c.HashKeys)
	if err != nil {
		return nil, text.Usage(err)
	}
	if c.KeyringPath == "" && hashes {
		return nil, text.Usagef("HOLDFAST_HASH_KEYS is on, and there is no keyring: set HOLDFAST_KEYRING")
	}
	if c.KeyringPath == "" {
		return seal.New(nil, c.Encryption), nil
	}
	k, err := keyring.Open(c.KeyringPath)
	if err != nil {
		return nil, text.Usage(fmt.Errorf("HOLDFAST_KEYRING: %w", err))
	}
	return seal.New(k, c.Encryption).HashingKeys(hashes), nil
}

// Key is the business key that an operator means by key: its hash, where keys are hashed.
func (c *Config) Key(key string) (string, error) {
	if key == "" {
		return "", nil
	}
	box, err := c.Box()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), DefaultTimeout) // a file needs a moment
	defer cancel()
	return box.Key(ctx, key)
}

// Signer signs control records, as the environment says; nil: none are signed.
func (c *Config) Signer() (holdfast.Signer, error) {
	if err := c.Signing.Validate(); err != nil {
		return nil, text.Usage(fmt.Errorf("HOLDFAST_SIGNING: %w", err))
	}
	if c.SigningKeyringPath == "" && c.Signing == holdfast.SigningRequired {
		return nil, text.Usagef("HOLDFAST_SIGNING is %s, and there are no keys: set HOLDFAST_SIGNING_KEYRING", c.Signing)
	}
	if c.SigningKeyringPath == "" || c.Signing == holdfast.SigningOff {
		return nil, nil
	}
	s, err := keyring.OpenSigner(c.SigningKeyringPath)
	if err != nil {
		return nil, text.Usage(fmt.Errorf("HOLDFAST_SIGNING_KEYRING: %w", err))
	}
	return s, nil
}

// environment is an environment as envconfig looks things up in it.
type environment []string

// Environ returns all of it.
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

// Suggester makes command lines for this installation.
func (c *Config) Suggester() text.Suggester { return text.Suggester{Said: c.PrefixFlag} }

// Bounded gives ctx the command's time limit, or otherwise, if neither the flag
// nor the environment sets one.
func (c *Config) Bounded(ctx context.Context, otherwise time.Duration) (context.Context, context.CancelFunc) {
	if c.Timeout > 0 {
		otherwise = c.Timeout
	}
	return context.WithTimeout(ctx, otherwise)
}

// DefaultTimeout is how long a command that asks Temporal or a database may take.
const DefaultTimeout = 30 * time.Second
