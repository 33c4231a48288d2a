package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/addresses"
)

// The environment variables that name external parts.
const (
	envAMQP      = "AMQP_URL"
	envDatabase  = "DATABASE_URL"
	envTemporal  = "TEMPORAL_ADDRESS"
	envNamespace = "TEMPORAL_NAMESPACE"
	envUI        = "HOLDFAST_TEMPORAL_UI"
)

// externalTimeout bounds the check of an external part.
const externalTimeout = 30 * time.Second

// errNotURL replaces causes that would show the password.
var errNotURL = errors.New("not a valid URL")

// checkAMQP asks the first address that answers.
func checkAMQP(ctx context.Context, urls string) (version string, err error) {
	list, err := addresses.Parse(urls)
	if err != nil {
		return "", unavailable(rabbitName, envAMQP, "set AMQP_URL to amqp://USER:PASSWORD@HOST:PORT/VHOST", errNotURL)
	}
	for _, a := range list {
		if version, err = checkAddress(ctx, a, externalTimeout/time.Duration(len(list))); err == nil {
			break
		}
	}
	return version, err
}

func checkAddress(ctx context.Context, a addresses.Address, limit time.Duration) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	where := a.Where()
	var secure *tls.Config
	if a.Encrypted() {
		files := addresses.TLS{CA: os.Getenv(addresses.VariableCA), Cert: os.Getenv(addresses.VariableCert),
			Key: os.Getenv(addresses.VariableKey)}
		if secure, err = files.For(a); err != nil {
			return "", unavailable(rabbitName, where, "see docs/tls.md", err)
		}
	}
	version, err = pingRabbit(ctx, a.URL, secure)
	var refused *amqp.Error
	switch {
	case err == nil:
		return version, nil
	case errors.Is(err, amqp.ErrCredentials), errors.As(err, &refused) && refused.Code == amqp.AccessRefused:
		return "", unavailable(rabbitName, where, "check user and password in AMQP_URL", err)
	case errors.Is(err, amqp.ErrVhost), errors.As(err, &refused) && refused.Code == amqp.NotAllowed:
		return "", unavailable(rabbitName, where,
			"check the virtual host at the end of AMQP_URL and the user's rights on it", err)
	default:
		return "", unavailable(rabbitName, where,
			"start it or correct AMQP_URL; unset AMQP_URL to have a private RabbitMQ", err)
	}
}

func checkDatabase(ctx context.Context, dsn string) (version string, err error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "", unavailable(postgresName, envDatabase,
			"set DATABASE_URL to postgres://USER:PASSWORD@HOST:PORT/DATABASE", errNotURL)
	}
	ctx, cancel := context.WithTimeout(ctx, externalTimeout)
	defer cancel()
	where := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))) + "/" + config.Database
	version, err = pingPostgres(ctx, dsn)
	switch code := sqlState(err); {
	case err == nil:
		return version, nil
	case code == "28P01" || code == "28000":
		return "", unavailable(postgresName, where, "check user and password in DATABASE_URL", err)
	case code == "3D000":
		return "", unavailable(postgresName, where, "create that database, or correct DATABASE_URL", err)
	default:
		return "", unavailable(postgresName, where,
			"start it or correct DATABASE_URL; unset DATABASE_URL to have a private PostgreSQL", err)
	}
}

// checkTemporal uses all of the TEMPORAL_* settings: TLS, API key, profile.
func checkTemporal(ctx context.Context, addr, namespace string) (version string, err error) {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return "", unavailable(temporalName, addr, "correct the TEMPORAL_* settings", err)
	}
	o.HostPort, o.Namespace = addr, namespace
	ctx, cancel := context.WithTimeout(ctx, externalTimeout)
	defer cancel()
	version, err = pingTemporal(ctx, o)
	if err != nil {
		return "", unavailable(temporalName, addr+" (namespace "+namespace+")",
			"start it, correct TEMPORAL_ADDRESS or TEMPORAL_NAMESPACE; unset TEMPORAL_ADDRESS to have a private Temporal", err)
	}
	return version, nil
}

func unavailable(part, where, remedy string, err error) error {
	return &holdfast.UnavailableError{Part: part, Where: where, Remedy: remedy, Err: err}
}

// TemporalOptions are the client options for the stack's Temporal server. For an
// external one all of the TEMPORAL_* settings count.
func (s *Stack) TemporalOptions() (client.Options, error) {
	if s.Temporal != nil {
		return client.Options{HostPort: s.temporalAddress, Namespace: s.namespace}, nil
	}
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return o, fmt.Errorf("the TEMPORAL_* settings: %w", err)
	}
	o.HostPort, o.Namespace = s.temporalAddress, s.namespace
	return o, nil
}

// external reads the environment's addresses, none where they are not to count.
func external(ignore bool) func(string) string {
	if ignore {
		return func(string) string { return "" }
	}
	return os.Getenv
}

// redacted is a connection string without its credentials.
func redacted(raw string) string {
	if list, err := addresses.Parse(raw); err == nil {
		return list.Where() + ", virtual host " + list[0].Vhost
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || strings.HasPrefix(u.Scheme, "amqp") {
		return "(given by the environment)"
	}
	return u.Host + u.Path
}
