package stack

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
)

// TestExternal uses one stack's parts as another's external ones.
func TestExternal(t *testing.T) {
	s := start(t, Options{IgnoreEnv: true})
	for _, kv := range s.Env() {
		key, value, _ := strings.Cut(kv, "=")
		t.Setenv(key, value)
	}

	t.Run("all", func(t *testing.T) {
		e := start(t, Options{})
		require.Nil(t, e.RabbitMQ)
		require.Nil(t, e.PostgreSQL)
		require.Nil(t, e.Temporal)
		require.Empty(t, e.Dir())
		require.Equal(t, s.Env(), e.Env())
		dsn, err := e.CreateDatabase(deadline(t), "elsewhere")
		require.NoError(t, err)
		again, err := e.CreateDatabase(deadline(t), "elsewhere")
		require.NoError(t, err)
		require.Equal(t, dsn, again)
		conn, err := pgx.Connect(deadline(t), dsn)
		require.NoError(t, err)
		require.NoError(t, conn.Close(deadline(t)))
		require.NoError(t, e.DropDatabase(deadline(t), "elsewhere"))
	})

	t.Run("several addresses", func(t *testing.T) {
		t.Setenv(envAMQP, "amqp://u:secret@"+unused(t)+"/,"+s.AMQPURL())
		require.Nil(t, start(t, Options{}).RabbitMQ)
	})

	t.Run("keywords and values", func(t *testing.T) {
		c, err := pgx.ParseConfig(s.DatabaseURL())
		require.NoError(t, err)
		host, port, err := net.SplitHostPort(s.PostgreSQL.driver.address())
		require.NoError(t, err)
		t.Setenv(envDatabase, "host="+host+" port="+port+" user="+c.User+" password="+c.Password+" dbname=postgres sslmode=disable")
		e := start(t, Options{})
		dsn, err := e.CreateDatabase(deadline(t), "keywords")
		require.NoError(t, err)
		conn, err := pgx.Connect(deadline(t), dsn)
		require.NoError(t, err)
		require.Equal(t, "keywords", conn.Config().Database)
		require.NoError(t, conn.Close(deadline(t)))
	})

	for _, c := range []struct{ name, key, value, part, remedy string }{
		{"wrong RabbitMQ password", envAMQP, withPassword(t, s.AMQPURL()), rabbitName, "user and password in AMQP_URL"},
		{"wrong virtual host", envAMQP, s.AMQPURL() + "nowhere", rabbitName, "virtual host"},
		{"no RabbitMQ", envAMQP, "amqp://u:secret@" + unused(t) + "/", rabbitName, "unset AMQP_URL"},
		{"no AMQP URL", envAMQP, "amqp://u:secret@[/", rabbitName, "set AMQP_URL to"},
		{"wrong PostgreSQL password", envDatabase, withPassword(t, s.DatabaseURL()), postgresName, "user and password in DATABASE_URL"},
		{"no such database", envDatabase, strings.Replace(s.DatabaseURL(), "/holdfast?", "/secretless?", 1), postgresName, "create that database"},
		{"no PostgreSQL", envDatabase, "postgres://u:secret@" + unused(t) + "/x", postgresName, "unset DATABASE_URL"},
		{"no database URL", envDatabase, "postgres://u:secret@[/", postgresName, "set DATABASE_URL to"},
		{"no Temporal", envTemporal, unused(t), temporalName, "unset TEMPORAL_ADDRESS"},
		{"no such namespace", envNamespace, "nowhere", temporalName, "TEMPORAL_NAMESPACE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(c.key, c.value)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := Start(ctx, Options{})
			var unavailable *holdfast.UnavailableError
			require.ErrorAs(t, err, &unavailable)
			require.Equal(t, c.part, unavailable.Part)
			require.Contains(t, unavailable.Remedy, c.remedy)
			require.NotContains(t, err.Error(), "secret@")
			require.NotContains(t, err.Error(), "wrong-secret")
			t.Log(err)
		})
	}
}

func withPassword(t *testing.T, raw string) string {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), "wrong-secret")
	return u.String()
}

func unused(t *testing.T) string {
	port, err := freePort()
	require.NoError(t, err)
	return address(port)
}
