package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestDevDatabases: a database for each service, with its URL in the environment, and
// Holdfast's tables where they are wanted; the second time all is there.
func TestDevDatabases(t *testing.T) {
	s := stacktest.Shared(t)
	for _, v := range s.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value) // dev uses it, and starts nothing
	}
	unique := fmt.Sprintf("%x", time.Now().UnixNano())
	one, two := "dev_one_"+unique, "dev_two_"+unique
	t.Cleanup(func() {
		for _, name := range []string{one, two} {
			require.NoError(t, s.DropDatabase(context.Background(), name))
		}
	})
	url := func(name string) string { return "$DATABASE_URL_" + strings.ToUpper(name) }
	here := os.Environ()
	for _, databases := range []string{one + "," + two, two + "," + one + "," + one} {
		r := runProgram(t, here, "dev", "--temp", "--databases", databases, "--migrate", "--",
			"sh", "-c", fmt.Sprintf(`echo "%s"; echo "%s"`, url(one), url(two)))
		require.Equal(t, frame.ExitOK, r.status, r.err)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		require.Len(t, lines, 2)
		require.Contains(t, lines[0], one)
		require.Contains(t, lines[1], two)
		for _, line := range lines {
			r = runProgram(t, here, "migrate", "--status", "--database-url", line)
			require.Contains(t, r.out, "up to date", r.err)
		}
	}
}

// TestDevDatabaseNames: a bad name is refused before anything is started.
func TestDevDatabaseNames(t *testing.T) {
	for databases, want := range map[string]string{
		"Orders":                "use a to z",
		"orders;drop":           "use a to z",
		"1st":                   "no digit first",
		"a,,b":                  `""`,
		"ok,postgres":           "PostgreSQL's own",
		"template1":             "PostgreSQL's own",
		strings.Repeat("x", 64): "at most 63",
	} {
		r := runProgram(t, nil, "dev", "--temp", "--databases", databases, "--", "true")
		require.Equal(t, frame.ExitUsage, r.status, databases)
		require.Contains(t, r.err, want, databases)
		require.NotContains(t, r.err, "ready on", databases)
	}
}
