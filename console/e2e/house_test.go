package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestMain runs the tests, or a child process of them.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(childMain(role))
	}
	os.Exit(stacktest.Main(m))
}

// password is everybody's.
const password = "correct horse"

// current is the test that runs now, of those that share a house.
type current struct{ *testing.T }

// house is an installation, its console, and a browser.
type house struct {
	t        *current
	b        *browser
	prefix   string
	env      []string
	db       *gorm.DB
	troubles string // the folder of what is out of order
	users    string // the console's file
	userList string
	base     string // where the console is
	orders   *process
	pager    *pager

	incidents []incident
}

func newHouse(t *testing.T) *house {
	t.Helper()
	now := &current{t}
	h := &house{t: now, b: newBrowser(now), troubles: t.TempDir(), users: filepath.Join(t.TempDir(), "users")}
	s := stacktest.Shared(t)
	database := stacktest.Database(t, s)
	if h.prefix = stacktest.Prefix(t); pictures() {
		h.prefix = "shop"
	}
	h.env = append(os.Environ(), troublesEnv+"="+h.troubles, "HOLDFAST_PREFIX="+h.prefix, "AMQP_URL="+s.AMQPURL(), "DATABASE_URL="+database,
		"TEMPORAL_ADDRESS="+s.TemporalAddress(), "TEMPORAL_NAMESPACE="+s.Namespace())
	var err error
	h.db, err = gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := h.db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	require.NoError(t, barrier.Migrate(t.Context(), h.db))
	t.Cleanup(func() {
		var queues []string
		for _, q := range []string{"half.orders", "half.billing", "dead", "dead.oversized", "replies.orders", "replies.billing", "q.payments",
			"q.mailer", "q.books", "retry.10s", "retry.30s", "retry.1m", "retry.5m", "retry.15m", "retry.1h"} {
			queues = append(queues, h.prefix+"."+q)
		}
		stacktest.DeleteQueues(t, s.AMQPURL(), queues...)
	})
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10) // the least that the console takes, for the time of the test
	require.NoError(t, err)
	for name, role := range map[string]string{"vera": "viewer", "olga": "operator", "oskar": "operator", "ada": "admin"} {
		h.userList += fmt.Sprintf("%s:%s:%s\n", name, role, hash)
	}
	require.NoError(t, os.WriteFile(h.users, []byte(h.userList), 0o600))
	h.base, _ = h.console("127.0.0.1:0")
	h.pager = newPager()
	t.Cleanup(h.pager.Close)
	h.env = append(h.env, "HOLDFAST_CONSOLE_URL="+h.base, "HOLDFAST_WEBHOOK_URL="+h.pager.URL,
		"HOLDFAST_WEBHOOK_SECRET="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	return h
}

// process is a child of the test.
type process struct {
	t   *current
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log *tail

	over sync.Once
}

// spawn starts a child, until the test's end.
func (h *house) spawn(role string, args ...string) *process {
	h.t.Helper()
	self, err := os.Executable()
	require.NoError(h.t, err)
	p := &process{t: h.t, cmd: exec.Command(self, args...), log: &tail{}}
	p.cmd.Env, p.cmd.Stderr = append(h.env, roleEnv+"="+role), p.log
	p.in, err = p.cmd.StdinPipe()
	require.NoError(h.t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(h.t, err)
	p.out = bufio.NewReader(out)
	require.NoError(h.t, p.cmd.Start())
	t := h.t.T
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s %s:\n%s", role, strings.Join(args, " "), p.log)
		}
	})
	return p
}

// says waits for a line of the child's.
func (p *process) says() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err, "the process has ended: %s", p.log)
	return line
}

// stop ends the child in good order.
func (p *process) stop() {
	p.end(func() { _ = p.in.Close(); _ = p.cmd.Process.Signal(syscall.SIGTERM) })
}

// kill is SIGKILL.
func (p *process) kill() { p.end(func() { _ = p.cmd.Process.Kill() }) }

func (p *process) end(how func()) {
	p.over.Do(func() {
		how()
		kill := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
		defer kill.Stop()
		_, _ = io.Copy(io.Discard, p.out)
		_ = p.cmd.Wait()
	})
}

var consoleAt = regexp.MustCompile(`http://[0-9.:]+`)

// console starts `holdfast console`, with more flags.
func (h *house) console(listen string, more ...string) (base string, p *process) {
	h.t.Helper()
	p = h.spawn(theCommand, append([]string{"console", "--users", h.users, "--listen", listen}, more...)...)
	line := p.says()
	base = consoleAt.FindString(line)
	require.NotEmpty(h.t, base, line)
	return base, p
}

// program starts one of the programs, and waits until it is ready.
func (h *house) program(role string) *process {
	h.t.Helper()
	p := h.spawn(role)
	p.hears()
	return p
}

func (p *process) hears() string {
	p.t.Helper()
	line := p.says()
	var r report
	require.NoError(p.t, json.Unmarshal([]byte(line), &r), line)
	require.Empty(p.t, r.Error)
	return r.ID
}

// does has a program do something, and returns the ID of what comes of it.
func (p *process) does(o order) (id string) {
	p.t.Helper()
	line, err := json.Marshal(o)
	require.NoError(p.t, err)
	_, err = p.in.Write(append(line, '\n'))
	require.NoError(p.t, err, p.log)
	return p.hears()
}

// breaks puts something out of order, and mends puts it right.
func (h *house) breaks(what, why string) {
	h.t.Helper()
	require.NoError(h.t, os.WriteFile(filepath.Join(h.troubles, what), []byte(why), 0o600))
}

func (h *house) mends(what string) {
	h.t.Helper()
	require.NoError(h.t, os.Remove(filepath.Join(h.troubles, what)))
}

// key is a business key that nobody else on the same servers has.
func (h *house) key(name string) string { return h.prefix + "-" + name }

// login opens a tab in which somebody is logged in.
func (h *house) login(name string, script bool) *tab {
	h.t.Helper()
	p := h.b.open(h.base, script)
	p.goTo("/")
	p.enter(name)
	return p
}

// enter fills in the login that the tab shows.
func (p *tab) enter(name string) {
	p.t.Helper()
	p.fill("Name", name)
	p.fill("Password", password)
	p.click(button("Log in"))
	p.shows(200, name+" (")
	p.clicks = 0
}

// asked is how often an action was asked for, by the audit.
func (h *house) asked(action, target string) (n int64) {
	h.t.Helper()
	require.NoError(h.t, h.db.Raw(`SELECT count(*) FROM holdfast_audit WHERE action = ? AND target = ? AND outcome = 'asked'`, action, target).
		Scan(&n).Error)
	return n
}

// refused are the latest refusals of somebody, by the audit.
func (h *house) refused(who string) (details []string) {
	h.t.Helper()
	require.NoError(h.t, h.db.Raw(`SELECT detail FROM holdfast_audit WHERE operator = ? AND outcome = 'refused' ORDER BY id`,
		workflows.Authenticated(who, "file")).Scan(&details).Error)
	return details
}

// letterOf is the workflow of the dead letter of a transaction.
func letterOf(p *tab, key string) string {
	p.t.Helper()
	list := "/dead/list?key=" + key
	p.until(list, "a dead letter", func() bool { return p.count("td a") > 0 })
	var id string
	p.evaluate(&id, `new URL(document.querySelector('td a').href).searchParams.get('id')`)
	return id
}

// run runs a part of the test.
func (h *house) run(name string, part func()) {
	whole := h.t.T
	whole.Run(name, func(t *testing.T) {
		h.t.T = t
		part()
	})
	h.t.T = whole
}

// TestTheConsoleInABrowser has one installation for all of its parts.
func TestTheConsoleInABrowser(t *testing.T) {
	h := newHouse(t)
	h.orders = h.program("orders")
	h.program("payments")
	h.run("Incidents", h.testIncidents)
	h.run("FromAnAlert", h.testFromAnAlert)
	if whole() {
		h.run("ActsOnce", h.testActsOnce)
	}
	h.run("Roles", h.testRoles)
	h.run("Sessions", h.testSessions)
	h.run("WhatOthersWrote", h.testWhatOthersWrote)
	if whole() {
		h.run("Keyboard", h.testKeyboard)
	} else {
		t.Log("left to make browser-test: double clicks and the like, the keyboard, and each page in both looks")
	}
	h.run("Pages", h.testPages)
}
