// Package dtm runs dtm's server (github.com/dtm-labs/dtm) as its authors configure it for
// PostgreSQL, and the services that it calls over gRPC. The server is a program of its
// own, from the module in the folder dtm, which has nothing else. It imports servers only.
package dtm

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/logger"
	"github.com/jackc/pgx/v5"

	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

const (
	module       = "github.com/dtm-labs/dtm"
	moduleFolder = "dtm" // where the server's go.mod is, from the benchmark's folder
	stopTimeout  = 10 * time.Second
	startPause   = 50 * time.Millisecond
)

// About is how the server is set, for the reader of the results.
var About = fmt.Sprintf("dtm 1.19.0, its server in a process of its own with its PostgreSQL store (tables of its own "+
	"on the same PostgreSQL, at most %d connections), client and branches over gRPC, everything else its defaults",
	servers.PoolSize)

// Server is a running server with an empty store.
type Server struct {
	// Address is where clients of gRPC reach it.
	Address string
	cmd     *exec.Cmd
	ended   chan struct{}
	stderr  bytes.Buffer
}

// Build builds the server's program, if this is the first call: that takes minutes.
func Build() error {
	_, err := built()
	return err
}

// built is the server's program, which is built once for all measurements.
var built = sync.OnceValues(func() (*program, error) {
	logger.InitLog("error") // its client tells of every call, otherwise
	dtmcli.SetCurrentDBType(dtmcli.DBTypePostgres)
	folder, err := os.MkdirTemp("", "bench-dtm-")
	if err != nil {
		return nil, err
	}
	p := &program{path: filepath.Join(folder, "dtm")}
	if out, err := exec.Command("go", "build", "-C", moduleFolder, "-o", p.path, module).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build dtm's server: %w: %s", err, out)
	}
	out, err := exec.Command("go", "-C", moduleFolder, "list", "-m", "-f", "{{.Dir}}", module).Output()
	p.source = strings.TrimSpace(string(out))
	return p, err
})

type program struct{ path, source string }

// tables makes the tables of a file of dtm's anew.
func (p *program) tables(ctx context.Context, db *sql.DB, file string) error {
	text, err := os.ReadFile(filepath.Join(p.source, "sqls", file))
	if err == nil {
		_, err = db.ExecContext(ctx, string(text))
	}
	return err
}

// Barriers makes the table anew by which dtm's client does a branch once in db.
func Barriers(ctx context.Context, db *sql.DB) error {
	p, err := built()
	if err != nil {
		return err
	}
	return p.tables(ctx, db, "dtmcli.barrier.postgres.sql")
}

// Start starts a server whose store is empty: with many transactions in its tables it
// gets slower. ctx ends the start only.
func Start(ctx context.Context, s *servers.Servers) (*Server, error) {
	p, err := built()
	if err != nil {
		return nil, err
	}
	db, dsn, err := s.DatabaseOf(ctx, s.Database+"_dtm")
	if err != nil {
		return nil, err
	}
	if err := p.tables(ctx, db, "dtmsvr.storage.postgres.sql"); err != nil {
		return nil, err
	}
	at, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	d := &Server{Address: net.JoinHostPort("127.0.0.1", ports[0]), ended: make(chan struct{})}
	d.cmd = exec.Command(p.path)
	d.cmd.Env = append(os.Environ(), "STORE_DRIVER=postgres",
		"STORE_HOST="+at.Host, "STORE_PORT="+strconv.Itoa(int(at.Port)),
		"STORE_USER="+at.User, "STORE_PASSWORD="+at.Password, "STORE_DB="+at.Database,
		"STORE_MAX_OPEN_CONNS="+strconv.Itoa(servers.PoolSize), "STORE_MAX_IDLE_CONNS="+strconv.Itoa(servers.PoolSize),
		"GRPC_PORT="+ports[0], "HTTP_PORT="+ports[1], "JSON_RPC_PORT="+ports[2], "LOG_LEVEL=error")
	d.cmd.Stderr = &d.stderr
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait()
	}()
	if err := d.awaitUp(ctx); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

// awaitUp waits until the server can be connected to.
func (d *Server) awaitUp(ctx context.Context) error {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", d.Address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-d.ended:
			return fmt.Errorf("dtm's server has ended: %s", bytes.TrimSpace(d.stderr.Bytes()))
		case <-ctx.Done():
			return fmt.Errorf("dtm's server does not listen: %w", err)
		case <-time.After(startPause):
		}
	}
}

// Stop ends the server.
func (d *Server) Stop() error {
	err := d.cmd.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(stopTimeout, func() { _ = d.cmd.Process.Kill() })
	defer kill.Stop()
	<-d.ended
	return err
}

// freePorts are ports that nobody listens on.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only now, or two of them may be one
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
