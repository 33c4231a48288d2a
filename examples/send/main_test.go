package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// TestSend runs the program as its reader would.
func TestSend(t *testing.T) {
	s := stacktest.Shared(t)
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Env = append(os.Environ(), s.Env()...)
	cmd.Env = append(cmd.Env, "DATABASE_URL="+stacktest.Database(t, s))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Regexp(t, `^commit\ncharged 4200 for [0-9a-f-]{36}\n$`, string(out))
}
