package stacktest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pgbouncer starts a pgbouncer in front of the database of a URL, until the test ends,
// and returns the URL through it. mode is its pool_mode: session or transaction; size
// is how many connections of the server it has. Without a pgbouncer the test is skipped,
// unless HOLDFAST_PGBOUNCER says that there has to be one.
func Pgbouncer(t testing.TB, database, mode string, size int) string {
	t.Helper()
	program := pgbouncer()
	if program == "" {
		if os.Getenv("HOLDFAST_PGBOUNCER") == "required" {
			t.Fatal("HOLDFAST_PGBOUNCER=required, but there is no pgbouncer: make pgbouncer installs it")
		}
		t.Skip("NOT TESTED: a pooler, since there is no pgbouncer: `make pgbouncer` installs it on Debian")
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	dir, err := os.MkdirTemp("", "holdfast-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	password, _ := u.User.Password()
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = %d
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
`, u.Hostname(), u.Port(), u.User.Username(), password, port, mode, size)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if os.Geteuid() == 0 { // it refuses to run as root
		args = []string{"-u", "postgres", file}
		if out, err := exec.Command("chown", "-R", "postgres", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	var log strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	awaitPgbouncer(t, u.String(), ended)
	return u.String()
}

func pgbouncer() string {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// awaitPgbouncer waits until it can be used.
func awaitPgbouncer(t testing.TB, through string, ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, through)
		if err == nil {
			_ = c.Close(ctx)
			return
		}
		select {
		case <-ended:
			t.Fatalf("pgbouncer has ended: %v", err)
		case <-ctx.Done():
			t.Fatalf("pgbouncer cannot be used: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
