package stacktest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

func TestShared(t *testing.T) {
	s := stacktest.Shared(t)
	require.Same(t, s, stacktest.Shared(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var url string
	t.Run("database", func(t *testing.T) {
		url = stacktest.Database(t, s)
		require.NotEqual(t, url, stacktest.Database(t, s))
		conn, err := pgx.Connect(ctx, url)
		require.NoError(t, err)
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, "CREATE TABLE x (id int)")
		require.NoError(t, err)
	})
	_, err := pgx.Connect(ctx, url)
	require.ErrorContains(t, err, "does not exist", "dropped at the end of its test")

	require.NotEqual(t, stacktest.Prefix(t), stacktest.Prefix(t))
	require.Regexp(t, `^t-[0-9a-f]{8}$`, stacktest.Prefix(t))

	_, err = stacktest.TemporalClient(t, s).CheckHealth(ctx, &client.CheckHealthRequest{})
	require.NoError(t, err)
}
