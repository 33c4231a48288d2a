package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/internal/stack/install"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

const (
	rabbitName   = "RabbitMQ"
	rabbitUser   = "holdfast"
	rabbitRemedy = "run `sudo apt-get install --no-install-recommends rabbitmq-server` " +
		"(elsewhere see https://www.rabbitmq.com/docs/download), or set AMQP_URL to a running one"
)

// rabbit runs one RabbitMQ node, with an epmd (Erlang's port mapper) of its own:
// the machine's epmd, if there is one, never hears of it.
type rabbit struct {
	f        *folder
	dir      string
	server   string // the rabbitmq-server script
	epmd     string
	password string
	ports    ports // "amqp", "dist", "epmd"; with tls "amqps"
	tls      *RabbitMQTLS
}

func newRabbit(ctx context.Context, f *folder, in *install.Installer) (*rabbit, error) {
	process.RaiseFileLimit()
	r := &rabbit{f: f, ports: f.loadPorts("rabbitmq")}
	found := func() bool {
		r.server, r.epmd = findRabbit()
		return r.server != "" && r.epmd != ""
	}
	if !found() {
		if err := in.Packages(ctx, rabbitName, rabbitRemedy, found, "rabbitmq-server"); err != nil {
			return nil, err
		}
	}
	var err error
	if r.dir, err = f.sub("rabbitmq"); err != nil {
		return nil, err
	}
	r.password, err = f.secret("rabbitmq")
	return r, err
}

// findRabbit finds the server's own script, not Debian's wrapper around it that
// switches the user, and epmd.
func findRabbit() (server, epmd string) {
	candidates := []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"}
	for _, pattern := range []string{
		"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
		"/opt/homebrew/sbin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server",
	} {
		found, _ := filepath.Glob(pattern)
		candidates = append(candidates, found...)
	}
	if path, err := exec.LookPath("rabbitmq-server"); err == nil {
		candidates = append(candidates, path)
	}
	for _, path := range candidates {
		if install.IsFile(path) {
			server = path
			break
		}
	}
	if path, err := exec.LookPath("epmd"); err == nil {
		epmd = path
	}
	return server, epmd
}

func (r *rabbit) prepare(_ context.Context, repick bool) error {
	if repick {
		clear(r.ports)
	}
	purposes := []string{"amqp", "dist", "epmd"}
	if r.tls != nil {
		purposes = append(purposes, "amqps")
	}
	if len(r.ports) < len(purposes) || repick {
		if err := r.ports.fill(purposes...); err != nil {
			return err
		}
		if err := r.f.savePorts("rabbitmq", r.ports); err != nil {
			return err
		}
	}
	conf := fmt.Sprintf(`listeners.tcp.1 = %s
num_acceptors.tcp = 4
default_vhost = /
default_user = %s
default_pass = %s
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
disk_free_limit.absolute = 100MB
log.console = true
log.console.level = info
log.file = false
`, address(r.ports["amqp"]), rabbitUser, r.password)
	plugins := "[].\n"
	if r.tls != nil {
		conf += r.tls.settings(r.ports["amqps"])
		plugins = "[rabbitmq_auth_mechanism_ssl].\n"
	}
	for name, text := range map[string]string{
		"rabbitmq.conf": conf, "enabled_plugins": plugins, "env.conf": "", "advanced.config": "[].\n",
	} {
		if err := writeFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *rabbit) commands() []process.Command {
	in := func(name string) string { return filepath.Join(r.dir, name) }
	env := append(process.WithoutEnv(os.Environ(), "RABBITMQ_", "ERL_", "HOME"),
		"HOME="+r.dir, // the Erlang cookie
		"ERL_EPMD_PORT="+strconv.Itoa(r.ports["epmd"]),
		"ERL_EPMD_ADDRESS="+loopback,
		"RABBITMQ_NODENAME=holdfast@localhost",
		"RABBITMQ_NODE_IP_ADDRESS="+loopback,
		"RABBITMQ_NODE_PORT="+strconv.Itoa(r.ports["amqp"]),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(r.ports["dist"]),
		"RABBITMQ_MNESIA_BASE="+in("data"),
		"RABBITMQ_LOG_BASE="+in("log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_PID_FILE="+in("pid"),
		"RABBITMQ_CONF_ENV_FILE="+in("env.conf"),
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+in("advanced.config"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+in("generated"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+in("enabled_plugins"),
		// The script then becomes the Erlang VM, instead of waiting for it and
		// stopping it with the slow rabbitmqctl.
		"RABBITMQ_ALLOW_INPUT=1",
		"RABBITMQ_SERVER_START_ARGS=-noinput",
		// Distribution on loopback; no busy waiting: the cores are shared.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} "+
			"+sbwt none +sbwtdcpu none +sbwtdio none",
	)
	return []process.Command{
		{
			Label: "epmd", Path: r.epmd, Args: []string{"-port", strconv.Itoa(r.ports["epmd"]), "-address", loopback},
			Env: env, Dir: r.dir, Stop: process.SigTerminate, Crash: process.SigKill,
		},
		{Label: "rabbitmq-server", Path: r.server, Env: env, Dir: r.dir, Stop: process.SigTerminate, Crash: process.SigKill},
	}
}

func (r *rabbit) address() string { return address(r.ports["amqp"]) }

func (r *rabbit) url() string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(rabbitUser, r.password), Host: r.address(), Path: "/"}
	return u.String()
}

func (r *rabbit) probe(ctx context.Context) (string, error) { return pingRabbit(ctx, r.url(), nil) }

// pingRabbit connects, opens a channel, and says the server's version. Its error
// holds no password.
func pingRabbit(ctx context.Context, rawURL string, secure *tls.Config) (string, error) {
	type answer struct {
		version string
		err     error
	}
	answers := make(chan answer, 1)
	dialed := make(chan net.Conn, 1)
	go func() {
		conn, err := amqp.DialConfig(rawURL, amqp.Config{
			Heartbeat:       10 * time.Second,
			TLSClientConfig: secure,
			Dial: func(network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err //nolint:wrapcheck // wrapped by the caller
				}
				if deadline, ok := ctx.Deadline(); ok {
					_ = c.SetDeadline(deadline)
				}
				dialed <- c
				return c, nil
			},
		})
		if err != nil {
			answers <- answer{err: err}
			return
		}
		version, _ := conn.Properties["version"].(string)
		product, _ := conn.Properties["product"].(string)
		ch, err := conn.Channel()
		if err == nil {
			err = ch.Close()
		}
		_ = conn.Close()
		answers <- answer{strings.TrimSpace(product + " " + version), err}
	}()
	select {
	case a := <-answers:
		return a.version, a.err
	case <-ctx.Done():
		select { // cut it off, so that the goroutine ends
		case c := <-dialed:
			_ = c.Close()
		default:
		}
		a := <-answers
		return "", errors.Join(ctx.Err(), a.err)
	}
}
