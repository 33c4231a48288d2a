package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// TestFirstProgram runs the program as a reader of the README would.
func TestFirstProgram(t *testing.T) {
	s := stacktest.Shared(t)
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Env = append(os.Environ(), s.Env()...)
	cmd.Env = append(cmd.Env, "DATABASE_URL="+stacktest.Database(t, s))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Regexp(t, `^reserved 4200
charged 4200
the order is confirmed
reserved 9900
released 9900
the order is cancelled
holdfast: the saga was compensated: saga/orders/order-payment/[0-9a-f-]{36}: step charge-payment: the card's limit is 5000
$`, string(out), stderr.String())
}

// TestREADMEShowsTheProgram keeps the README's program the same.
func TestREADMEShowsTheProgram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	parts := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, parts, 1)
	require.Contains(t, string(program), parts[0][1], "copy it from examples/first/main.go into the README")
}
