package dev

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/golden"
)

func TestPrintStack(t *testing.T) {
	var out bytes.Buffer
	printStack(&out, []string{"AMQP_URL=amqp://u:p'w@127.0.0.1:5/", "DATABASE_URL=postgres://u:p@127.0.0.1:6/holdfast",
		"TEMPORAL_ADDRESS=127.0.0.1:7", "TEMPORAL_NAMESPACE=default", "HOLDFAST_TEMPORAL_UI=http://127.0.0.1:8",
		"DATABASE_URL_STOCK=postgres://u:p@127.0.0.1:6/stock"}, "/data")
	golden.Equal(t, "dev.txt", out.String())

	out.Reset()
	printStack(&out, []string{"AMQP_URL=a", "HOLDFAST_TEMPORAL_UI="}, "")
	require.NotContains(t, out.String(), "HOLDFAST_TEMPORAL_UI", "what is not known is not set")
}

func TestProjectRoot(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "module", "a", "b")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "module", "go.mod"), nil, 0o644))
	require.Equal(t, filepath.Join(dir, "module"), projectRoot(deep))
	require.Equal(t, filepath.Join(dir, "module"), projectRoot(filepath.Join(dir, "module")))
}

func TestDevFolderIsIgnoredByGit(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".git"), 0o755))
	t.Chdir(dir)
	folder, err := devFolder()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(".holdfast", "dev"), strings.TrimPrefix(folder, projectRoot(mustGetwd(t))+string(filepath.Separator)))
	text, err := os.ReadFile(filepath.Join(dir, ".holdfast", ".gitignore"))
	require.NoError(t, err)
	require.Equal(t, "*\n", string(text))
	_, err = devFolder()
	require.NoError(t, err)
}

func mustGetwd(t *testing.T) string {
	wd, err := os.Getwd()
	require.NoError(t, err)
	return wd
}

func commandApp(in io.Reader) (*frame.App, *bytes.Buffer) {
	var out bytes.Buffer
	return &frame.App{Surroundings: frame.Surroundings{In: in, Out: &out, Err: &out, Environ: append(os.Environ(), "AMQP_URL=theirs"), Now: time.Now}}, &out
}

func TestCommandInTheStack(t *testing.T) {
	a, out := commandApp(strings.NewReader("input"))
	require.NoError(t, runCommand(a, []string{"sh", "-c", `echo "$AMQP_URL"; cat`}, []string{"AMQP_URL=ours"}, nil))
	require.Equal(t, "ours\ninput", out.String())
}

func TestExitStatusOfTheCommand(t *testing.T) {
	a, _ := commandApp(strings.NewReader(""))
	require.Equal(t, frame.StatusError(7), runCommand(a, []string{"sh", "-c", "exit 7"}, nil, nil))
	require.Equal(t, frame.StatusError(128+9), runCommand(a, []string{"sh", "-c", "kill -9 $$"}, nil, nil))
	require.ErrorContains(t, runCommand(a, []string{"/no/such/program"}, nil, nil), "after --")
}

// TestSignalsReachTheCommand waits for the command to say that it listens, then
// signals.
func TestSignalsReachTheCommand(t *testing.T) {
	r, w := io.Pipe()
	a, _ := commandApp(strings.NewReader(""))
	a.Out = w
	signals := make(chan os.Signal, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- runCommand(a, []string{"sh", "-c", `trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done`}, nil, signals)
		_ = w.Close()
	}()
	line := make([]byte, len("ready\n"))
	_, err := io.ReadFull(r, line)
	require.NoError(t, err)
	signals <- syscall.SIGTERM
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "caught\n", string(rest))
	require.Equal(t, frame.StatusError(3), <-ended)
}
