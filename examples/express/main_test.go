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

// TestExpress runs the program as its reader would, with no word of Temporal in its
// environment.
func TestExpress(t *testing.T) {
	s := stacktest.Shared(t)
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TEMPORAL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "AMQP_URL="+s.AMQPURL(), "DATABASE_URL="+stacktest.Database(t, s))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Regexp(t, `^commit\ncharged 4200 for [0-9a-f-]{36}\n$`, string(out))
}

// TestDocsShowTheProgram keeps the copy in the page the same.
func TestDocsShowTheProgram(t *testing.T) {
	page, err := os.ReadFile("../../docs/lanes.md")
	require.NoError(t, err)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, code, found := strings.Cut(string(program), "package main\n")
	require.True(t, found)
	require.Contains(t, string(page), "package main\n"+code, "copy examples/express/main.go into docs/lanes.md")
}
