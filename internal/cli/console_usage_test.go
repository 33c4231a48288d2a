package cli

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

func TestConsoleUsage(t *testing.T) {
	t.Parallel()
	users := filepath.Join(t.TempDir(), "users")
	for args, want := range map[string]string{
		"":                             "say who may log in, with --users",
		"--users nowhere":              "no such file",
		"--users " + users:             "users: it has no users",
		"--users u --dev-login":        "[dev-login users]",
		"--dev-login --listen :0":      "--dev-login is for loopback",
		"--users u --listen 0.0.0.0:0": "passwords would travel as they are",
		"--users u --listen nowhere":   "want HOST:PORT",
		"--users u --tls-cert c":       "[tls-cert tls-key]",
		"--users u --metrics 9464":     "--metrics 9464: want HOST:PORT",
		"hash ann --role boss":         `role "boss"`,
		"hash policy --role viewer":    "Holdfast signs with that name",
		"hash":                         "accepts 1 arg",
		"hash ann":                     "want 8 to 72",
	} {
		require.NoError(t, os.WriteFile(users, []byte("# nobody\n"), 0o600))
		in := "correct horse\n"
		if args == "hash ann" {
			in = "short\n"
		}
		r := runWith(t, nil, in, append([]string{"console"}, strings.Fields(args)...)...)
		require.NotEqual(t, frame.ExitOK, r.status, args)
		require.Contains(t, r.err, want, args)
	}
	r := runWith(t, nil, "correct horse\n", "console", "hash", "ann", "--role", "operator")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Regexp(t, `^ann:operator:\$2a\$12\$[./A-Za-z0-9]{53}\n$`, r.out)
	require.NotContains(t, r.out+r.err, "correct horse")
}

// TestConsoleServes: the program serves its pages, without any of its servers, until it is
// told to end.
func TestConsoleServes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"console", "--dev-login", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"}, frame.Surroundings{Out: in, Err: io.Discard, Now: time.Now,
			Environ: []string{"TEMPORAL_ADDRESS=127.0.0.1:1"}})
		_ = in.Close()
	}()
	said, address, shown := "", "", ""
	for address == "" || shown == "" {
		part := make([]byte, 1024)
		n, err := out.Read(part)
		require.NoError(t, err, said)
		said += string(part[:n])
		if found := regexp.MustCompile(`Log in, once, within 15 minutes, at (http://127\.0\.0\.1:\d+/login/once\?token=\S+)\n`).FindStringSubmatch(said); found != nil {
			address = found[1]
		}
		if found := regexp.MustCompile(`Metrics for Prometheus are at (http://127\.0\.0\.1:\d+/metrics)\n`).FindStringSubmatch(said); found != nil {
			shown = found[1]
		}
	}
	// Nothing is there, which it says once it has looked.
	require.Eventually(t, func() bool { return regexp.MustCompile(`holdfast_doctor_unseen [1-9]`).MatchString(scraped(t, shown)) },
		patience, 50*time.Millisecond)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	got, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	page, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.NoError(t, got.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Contains(t, string(page), "This address is good for one login")
	cancel()
	require.Equal(t, frame.ExitOK, <-ended)
}

// scraped is what Prometheus gets.
func scraped(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	got, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	page, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.NoError(t, got.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusOK, got.StatusCode, "%s", page)
	return string(page)
}
