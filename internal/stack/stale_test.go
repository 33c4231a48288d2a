package stack

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// Settings that make the test binary a stack's owner that waits to be killed.
const (
	envOwner     = "HOLDFAST_STACKTEST_OWNER"      // its data folder; "-" for a temporary one
	envOwnerKeep = "HOLDFAST_STACKTEST_OWNER_KEEP" // its processes outlive it
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envOwner); dir != "" {
		os.Exit(own(dir))
	}
	os.Exit(m.Run())
}

// own starts a stack, says where and what, and waits forever.
func own(dir string) int {
	o := Options{IgnoreEnv: true, Out: os.Stderr, orphans: os.Getenv(envOwnerKeep) != ""}
	if dir != "-" {
		o.Dir = dir
	}
	s, err := Start(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(s.Dir(), s.RabbitMQ.PID(), s.PostgreSQL.PID(), s.Temporal.PID())
	select {}
}

// owner is a test binary that owns a stack.
type owner struct {
	cmd  *exec.Cmd
	dir  string
	pids []process.Info
}

func startOwner(t *testing.T, dir string, keep bool) *owner {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), os.Args[0])
	cmd.Env = append(os.Environ(), envOwner+"="+dir)
	if keep {
		cmd.Env = append(cmd.Env, envOwnerKeep+"=1")
	}
	cmd.Stderr = testOut{t}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	o := &owner{cmd: cmd}
	fields := strings.Fields(line)
	o.dir = fields[0]
	for _, f := range fields[1:] {
		pid, err := strconv.Atoi(f)
		require.NoError(t, err)
		info, ok := process.Lookup(pid)
		require.True(t, ok)
		o.pids = append(o.pids, info)
		o.pids = append(o.pids, process.Descendants(pid)...)
	}
	return o
}

func (o *owner) kill(t *testing.T) {
	require.NoError(t, o.cmd.Process.Kill())
	_ = o.cmd.Wait()
}

// TestOwnerAlive: a data folder has one owner.
func TestOwnerAlive(t *testing.T) {
	dir := t.TempDir() // which user postgres cannot reach, when this is root
	t.Cleanup(func() {
		for _, outside := range readBook(filepath.Join(dir, bookFile)).Outside {
			require.NoError(t, os.RemoveAll(outside))
		}
	})
	s := start(t, Options{IgnoreEnv: true, Dir: dir})
	_, err := Start(deadline(t), Options{IgnoreEnv: true, Dir: dir})
	require.ErrorContains(t, err, fmt.Sprintf("a stack is already running from %s (PID %d): stop it or use another folder", dir, os.Getpid()))
	require.NotZero(t, s.Temporal.PID(), "the first is none the worse")

	// Closed and started again: same data, same addresses.
	env := s.Env()
	_, err = s.CreateDatabase(deadline(t), "kept")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s = start(t, Options{IgnoreEnv: true, Dir: dir})
	require.Equal(t, env, s.Env())
	keepRowThere(t, s, "kept")
}

func keepRowThere(t *testing.T, s *Stack, database string) {
	dsn, err := withDatabase(s.DatabaseURL(), database)
	require.NoError(t, err)
	_, err = pingPostgres(deadline(t), dsn)
	require.NoError(t, err)
}

// TestOwnerKilled: what a killed owner left is stopped at the next start from
// its folder, and nothing else is.
func TestOwnerKilled(t *testing.T) {
	dir := openTemp(t)
	bystander := exec.Command("sleep", "600")
	require.NoError(t, bystander.Start())
	t.Cleanup(func() { _ = bystander.Process.Kill(); _ = bystander.Wait() })

	o := startOwner(t, dir, true)
	o.kill(t)
	for _, p := range o.pids[:1] {
		require.True(t, process.Running(p.PID, p.Started), "left behind")
	}
	// Another process with a PID that the state file names is left alone.
	b := readBook(filepath.Join(dir, bookFile))
	b.Processes[rabbitName] = append(b.Processes[rabbitName],
		bookEntry{Label: "recycled", PID: bystander.Process.Pid, Started: "1", Stop: process.SigKill})
	f := &folder{path: dir}
	require.NoError(t, (&book{path: f.join(bookFile), entries: b}).write())

	start(t, Options{IgnoreEnv: true, Dir: dir})
	for _, p := range o.pids {
		require.False(t, process.Running(p.PID, p.Started), "stopped at the next start")
	}
	_, ok := process.Lookup(bystander.Process.Pid)
	require.True(t, ok)
}

// TestSweep: temporary stacks of dead owners are removed.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", openTemp(t))
	o := startOwner(t, "-", true)
	o.kill(t)
	require.DirExists(t, o.dir)
	out := progress.New(testOut{t})
	alive, err := openFolder("")
	require.NoError(t, err)
	_, err = newBook(alive.join(bookFile))
	require.NoError(t, err)
	sweep(out)
	require.NoDirExists(t, o.dir)
	for _, p := range o.pids {
		require.False(t, process.Running(p.PID, p.Started))
	}
	require.DirExists(t, alive.path, "its owner lives")
	require.NoError(t, alive.close())
}

// TestDiesWithOwner: on Linux nothing outlives a killed owner in the first place.
func TestDiesWithOwner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process that its parent is dead")
	}
	t.Setenv("TMPDIR", openTemp(t))
	o := startOwner(t, "-", false)
	o.kill(t)
	for _, p := range o.pids {
		require.True(t, process.AwaitGone(p.PID, p.Started, process.KillWait), "process %d", p.PID)
	}
	sweep(progress.New(testOut{t}))
	require.NoDirExists(t, o.dir)
}

// openTemp is a folder for temporary files that every user can pass through, as
// /tmp is.
func openTemp(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "hf")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
