package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// result is what a run of the program left.
type result struct {
	status   int
	out, err string
}

// runWith runs the program with this environment and input.
func runWith(t *testing.T, env []string, in string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	status := Main(ctx, args, frame.Surroundings{In: strings.NewReader(in), Out: &out, Err: &errs, Environ: env, Now: time.Now})
	return result{status, out.String(), errs.String()}
}

func runProgram(t *testing.T, env []string, args ...string) result {
	t.Helper()
	return runWith(t, env, "", args...)
}
