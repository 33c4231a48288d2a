package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

func TestDevRunsACommand(t *testing.T) {
	r := runProgram(t, os.Environ(), "dev", "--temp", "--", "sh", "-c", `test -n "$AMQP_URL$DATABASE_URL" && echo "$TEMPORAL_ADDRESS" && exit 3`)
	require.Equal(t, 3, r.status, r.err)
	require.Regexp(t, `^.+:\d+\n$`, r.out)
	require.Contains(t, r.err, "Stopping.")
}

// TestDevUntilInterrupted waits for the last line that dev prints, then
// interrupts it.
func TestDevUntilInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	r, w := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- Main(ctx, []string{"dev", "--dir", t.TempDir()}, frame.Surroundings{In: strings.NewReader(""), Out: w, Err: io.Discard, Environ: os.Environ(), Now: time.Now})
		_ = w.Close()
	}()
	var out []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		out = append(out, lines.Text())
		if strings.Contains(lines.Text(), "Ctrl-C") {
			interrupt()
		}
	}
	interrupt()
	require.Equal(t, frame.ExitOK, <-status, out)
	require.Regexp(t, `export AMQP_URL='amqp://`, strings.Join(out, "\n"))
	require.Contains(t, strings.Join(out, "\n"), "export TEMPORAL_NAMESPACE='")
}
