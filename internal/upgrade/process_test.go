package upgrade

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// oldEnv names the commit of the older version.
const oldEnv = "HOLDFAST_OLD_VERSION"

// kind is which program a process runs, and how.
type kind string

const (
	older   kind = "old"     // the older version
	rolling kind = "rolling" // this version, with HOLDFAST_ROLLING_UPGRADE
	newer   kind = "new"     // this version, without
)

// programs builds the program in the source of both versions.
func programs(t *testing.T) map[kind]string {
	commit := os.Getenv(oldEnv)
	if commit == "" {
		t.Skipf("NOT TESTED: a rolling upgrade, since %s names no commit: make upgrade-test does", oldEnv)
	}
	if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
		t.Skipf("NOT TESTED: a rolling upgrade, since this clone has no commit %s: git fetch --unshallow", commit)
	}
	dir := t.TempDir()
	source, packed := filepath.Join(dir, "source"), filepath.Join(dir, "source.tar")
	require.NoError(t, os.CopyFS(filepath.Join(source, "upgradeprogram"), os.DirFS(filepath.Join("testdata", "program"))))
	does(t, "../..", "git", "archive", "--format=tar", "--output="+packed, commit)
	does(t, source, "tar", "-xf", packed)
	built := map[kind]string{older: filepath.Join(dir, "older"), newer: filepath.Join(dir, "newer")}
	built[rolling] = built[newer]
	does(t, source, "go", "build", "-o", built[older], "./upgradeprogram")
	does(t, ".", "go", "build", "-o", built[newer], "./testdata/program")
	return built
}

func does(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", cmd, out)
}

// process is one of the program.
type process struct {
	w     *world
	kind  kind
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu     sync.Mutex
	killed bool
	said   map[string]int
	more   chan struct{} // closed, and another made, when it has said something
	log    []string
}

// start starts a process, and waits until it is ready.
func (w *world) start(k kind) *process {
	w.Helper()
	w.started[k]++
	p := &process{w: w, kind: k, name: fmt.Sprintf("%s-%d", k, w.started[k]), cmd: exec.Command(w.programs[k]),
		ended: make(chan struct{}), said: map[string]int{}, more: make(chan struct{})}
	p.cmd.Env = append(w.env(k), "UPGRADE_NAME="+p.name)
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(w, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(w, err)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(w, err)
	require.NoError(w, p.cmd.Start())
	w.processes = append(w.processes, p)
	var readers sync.WaitGroup
	readers.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.hear(lines.Text())
		}
	})
	readers.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.note(lines.Text())
		}
	})
	go func() {
		defer close(p.ended)
		readers.Wait()
		_ = p.cmd.Wait() // how it ended is in ProcessState
		p.note(fmt.Sprint("it ended: ", p.cmd.ProcessState))
		p.mu.Lock()
		killed := p.killed
		p.mu.Unlock()
		status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !p.cmd.ProcessState.Success() && (!killed || status.Signal() != syscall.SIGKILL) {
			w.Errorf("%s ended by itself: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
		}
	}()
	p.await("ready", 1)
	return p
}

func (p *process) hear(line string) {
	p.note(line)
	if strings.HasPrefix(line, "wrong ") {
		p.w.Errorf("%s: a caller was told: %s", p.name, line)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said[line]++
	close(p.more)
	p.more = make(chan struct{})
}

// tell gives it an order.
func (p *process) tell(what string) {
	p.w.Helper()
	_, err := io.WriteString(p.stdin, what+"\n")
	require.NoError(p.w, err, "%s: %s", p.name, p.tail())
}

// times is how often it has said something; more is closed when it says anything more.
func (p *process) times(what string) (n int, more chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said[what], p.more
}

// await waits until it has said something so often.
func (p *process) await(what string, times int) {
	p.w.Helper()
	late := p.w.late()
	for {
		n, more := p.times(what)
		if n >= times {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			p.w.Fatalf("%s has ended, and did not say %q: %s", p.name, what, p.tail())
		case <-late:
			p.w.Fatalf("%s does not say %q: %s", p.name, what, p.tail())
		}
	}
}

func (p *process) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// end ends it in good order, in the midst of whatever it does.
func (p *process) end() {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-p.w.late():
		p.w.Errorf("%s does not end in good order: %s", p.name, p.tail())
		p.kill()
	}
}

func (p *process) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log = append(p.log, line); len(p.log) > 400 {
		p.log = p.log[200:]
	}
}

// tail is the end of what it said.
func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name + ":\n\t" + strings.Join(p.log[max(0, len(p.log)-30):], "\n\t")
}
