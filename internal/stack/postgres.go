package stack

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfastmq/holdfast/internal/stack/install"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

const (
	postgresName     = "PostgreSQL"
	postgresUser     = "holdfast"
	postgresDatabase = "holdfast"
	postgresOldest   = 13
	postgresRemedy   = "run `sudo apt-get install --no-install-recommends postgresql` " +
		"(elsewhere see https://www.postgresql.org/download), or set DATABASE_URL to a running one"
)

// postgres runs one PostgreSQL server: TCP on loopback, password authentication,
// fsync on.
type postgres struct {
	f        *folder
	dir      string // holds "data"
	bin      string // folder of initdb and postgres
	user     *process.Account
	password string
	ports    ports // "sql"
}

func newPostgres(ctx context.Context, f *folder, in *install.Installer, b *book) (*postgres, error) {
	p := &postgres{f: f, ports: f.loadPorts("postgresql")}
	found := func() bool {
		p.bin = findPostgres()
		return p.bin != ""
	}
	if !found() {
		if err := in.Packages(ctx, postgresName, postgresRemedy, found, "postgresql"); err != nil {
			return nil, err
		}
	}
	if os.Geteuid() == 0 {
		var err error
		if p.user, err = postgresAccount(); err != nil {
			return nil, err
		}
	}
	var err error
	if p.dir, err = postgresDir(ctx, f, p.user, in.Out, b); err != nil {
		return nil, err
	}
	p.password, err = f.secret("postgresql")
	return p, err
}

// findPostgres is the program folder of the newest PostgreSQL there is.
func findPostgres() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Slice(dirs, func(i, j int) bool { return postgresMajor(dirs[i]) > postgresMajor(dirs[j]) })
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, dir := range dirs {
		major := postgresMajor(dir)
		if (major == 0 || major >= postgresOldest) &&
			install.IsFile(filepath.Join(dir, "initdb")) && install.IsFile(filepath.Join(dir, "postgres")) {
			return dir
		}
	}
	return ""
}

// postgresMajor reads the version out of Debian's path; 0 where there is none.
func postgresMajor(dir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return major
}

// postgresAccount is the user postgres: PostgreSQL refuses to run as root.
func postgresAccount() (*process.Account, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root and there is no user postgres (%w): "+
			"run as another user, or set DATABASE_URL to a running server", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("the user postgres has the odd IDs %s:%s", u.Uid, u.Gid)
	}
	return &process.Account{UID: uint32(uid), GID: uint32(gid)}, nil
}

func (p *postgres) prepare(ctx context.Context, repick bool) error {
	if repick {
		clear(p.ports)
	}
	if len(p.ports) == 0 {
		if err := p.ports.fill("sql"); err != nil {
			return err
		}
		if err := p.f.savePorts("postgresql", p.ports); err != nil {
			return err
		}
	}
	if _, err := os.Stat(p.data()); err == nil {
		return nil
	}
	return p.initdb(ctx)
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

// initdb makes the data folder; a half made one is never taken for a whole one.
func (p *postgres) initdb(ctx context.Context) error {
	half := filepath.Join(p.dir, "data.new")
	if err := os.RemoveAll(half); err != nil {
		return fmt.Errorf("remove a half made data folder: %w", err)
	}
	pw := filepath.Join(p.dir, "password")
	if err := os.WriteFile(pw, []byte(p.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("password file: %w", err)
	}
	defer func() { _ = os.Remove(pw) }()
	if p.user != nil {
		if err := os.Chown(pw, int(p.user.UID), int(p.user.GID)); err != nil {
			return fmt.Errorf("password file: %w", err)
		}
	}
	args := []string{
		"-D", half, "-U", postgresUser, "--pwfile=" + pw, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C",
	}
	if p.f.temporary {
		args = append(args, "--no-sync") // the folder does not outlive the process
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), args...)
	cmd.Dir, cmd.Env = p.dir, p.environment()
	process.OwnGroup(cmd)
	process.AsUser(cmd, p.user)
	cmd.Cancel = func() error { return process.KillGroup(cmd.Process.Pid) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, process.LastLines(string(out), tailLines))
	}
	if err := os.Rename(half, p.data()); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

func (p *postgres) environment() []string {
	env := process.WithoutEnv(os.Environ(), "PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE",
		"PGOPTIONS", "PGSERVICE", "HOME", "LC_ALL", "LC_MESSAGES", "LANGUAGE")
	return append(env, "HOME="+p.dir, "LC_ALL=C")
}

func (p *postgres) commands() []process.Command {
	settings := []string{
		"port=" + strconv.Itoa(p.ports["sql"]),
		"listen_addresses=" + loopback,
		"unix_socket_directories=",
		"max_connections=300",
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=128MB",
		"max_wal_size=1GB",
		"logging_collector=off", "log_destination=stderr", "log_line_prefix=%m [%p] ",
	}
	args := []string{"-D", p.data()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	stop := process.SigFast
	if p.f.temporary {
		stop = process.SigImmediate // nothing is to be saved
	}
	return []process.Command{{
		Label: "postgres", Path: filepath.Join(p.bin, "postgres"), Args: args,
		Env: p.environment(), Dir: p.dir, User: p.user, Stop: stop, Crash: process.SigImmediate,
	}}
}

func (p *postgres) address() string { return address(p.ports["sql"]) }

func (p *postgres) url(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, p.password),
		Host: p.address(), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// probe also sees to it that the default database is there.
func (p *postgres) probe(ctx context.Context) (string, error) {
	version, err := pingPostgres(ctx, p.url("postgres"))
	if err != nil {
		return "", err
	}
	return version, createDatabase(ctx, p.url("postgres"), postgresDatabase)
}

// pingPostgres connects, asks for the version. Its error holds no password.
func pingPostgres(ctx context.Context, dsn string) (string, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var version string
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return "", fmt.Errorf("ask for the version: %w", err)
	}
	version, _, _ = strings.Cut(version, " ")
	return postgresName + " " + version, nil
}
