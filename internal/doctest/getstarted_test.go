package doctest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestGetStarted follows docs/get-started.md in a module of its own: one program, its test, and then
// two programs with a database each.
func TestGetStarted(t *testing.T) {
	t.Parallel()
	first := readFile(t, "examples/first/main.go")
	var pieces []string
	for _, block := range fence.FindAllStringSubmatch(readFile(t, "docs/get-started.md"), -1) {
		if block[1] == "go" {
			pieces = append(pieces, block[2])
		}
	}
	require.Len(t, pieces, 2, "the second program's main, and a test")

	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write("go.mod", "module orders\n\n"+requirements(readFile(t, "go.mod")))
	write("go.sum", readFile(t, "go.sum"))
	here, err := filepath.Abs(root)
	require.NoError(t, err)
	run := func(args ...string) {
		out, err := goCommand(t, dir, []string{"GOWORK=off", "GOFLAGS=-mod=mod"}, args...)
		require.NoError(t, err, out)
	}
	run("mod", "edit", "-require="+module+"@v0.0.0", "-replace="+module+"="+here)

	calls := cut(t, first, "\tw.Participate(", "\tgo w.Run(")
	write("main.go", strings.Replace(first, calls, "", 1))
	write("main_test.go", `package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
)

`+pieces[1])
	second := strings.Replace(first, cut(t, first, "func main() {", "func check("), pieces[0]+"\n", 1)
	second = strings.Replace(second, cut(t, first, "var OrderPayment", "// say is"), "", 1)
	for _, unused := range []string{"\t\"github.com/google/uuid\"\n", "\t\"github.com/holdfastmq/holdfast/barrier\"\n"} {
		require.Contains(t, second, unused)
		second = strings.Replace(second, unused, "", 1)
	}
	write("stock/main.go", strings.Replace(second, "\t\"context\"\n", "\t\"context\"\n\t\"os\"\n\t\"os/signal\"\n", 1))
	run("test", ".")
	run("build", "-o", "order", ".")
	run("build", "-o", "goods", "./stock")

	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	program := func(name string) *exec.Cmd {
		env := append(s.Env(), "DATABASE_URL="+stacktest.Database(t, s), "HOLDFAST_PREFIX="+prefix)
		out, status := newReader(t, env...).types("holdfast migrate")
		require.Zero(t, status, out)
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, name))
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	b, err := broker.Open(t.Context(), broker.Options{URL: s.AMQPURL(), Prefix: prefix})
	require.NoError(t, err)
	t.Cleanup(func() {
		made := []string{b.DeadQueue(), b.OversizedQueue(), b.ExpiredQueue(), b.HalfQueue("orders"), prefix + ".replies.orders"}
		for _, topic := range []string{"stock.reserve", "payment.charge"} {
			made = append(made, b.ConsumerQueue(topic), b.AloneQueue(topic), b.HeldQueue(topic))
		}
		_ = b.Close(context.WithoutCancel(t.Context()))
		stacktest.DeleteQueues(t, s.AMQPURL(), made...)
	})
	goods := program("goods")
	log, err := goods.StderrPipe()
	require.NoError(t, err)
	var did strings.Builder
	goods.Stdout = &did
	require.NoError(t, goods.Start())
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "holdfast runs") {
		t.Log(lines.Text())
	}
	out, err := program("order").Output()
	require.NoError(t, err)
	require.NoError(t, goods.Process.Signal(os.Interrupt))
	for lines.Scan() { // until it has ended
	}
	require.NoError(t, goods.Wait())
	require.Regexp(t, `^the order is confirmed
the order is cancelled
holdfast: the saga was compensated: \S+: step charge-payment: the card's limit is 5000
$`, string(out))
	require.Equal(t, "reserved 4200\ncharged 4200\nreserved 9900\nreleased 9900\n", did.String())
}

// requirements are what a go.mod says after its module.
func requirements(mod string) string {
	_, rest, _ := strings.Cut(mod, "\n")
	return rest
}

// cut is the part of text that begins with from, up to the first to behind it.
func cut(t *testing.T, text, from, to string) string {
	t.Helper()
	i := strings.Index(text, from)
	require.GreaterOrEqual(t, i, 0, from)
	n := strings.Index(text[i:], to)
	require.Positive(t, n, to)
	return text[i : i+n]
}
