package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long tests wait for what must happen. It says nothing about how fast it
// is.
const patience = 5 * time.Minute

// allEnv says that the test is run whole; else what others test too, or what is looked at twice,
// is left out.
const allEnv = "HOLDFAST_BROWSER_ALL"

func whole() bool { return os.Getenv(allEnv) != "" || pictures() }

// need returns where a program is. Without it the test is skipped, unless HOLDFAST_BROWSER says
// that there has to be one.
func need(t *current, what string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	if os.Getenv("HOLDFAST_BROWSER") == "required" {
		t.Fatalf("HOLDFAST_BROWSER=required, but there is no %s: make browser installs it", what)
	}
	t.Skipf("NOT TESTED: the console in a browser, since there is no %s: `make browser` installs it on Debian", what)
	return ""
}

// browser is a Chromium, with the process that drives it.
type browser struct {
	t     *current
	in    io.WriteCloser
	lines *bufio.Reader
	log   *tail

	mu   sync.Mutex
	last int
}

// newBrowser starts one, until the test's end.
func newBrowser(t *current) *browser {
	t.Helper()
	node, npm := need(t, "Node (18 or later)", "node"), need(t, "npm", "npm")
	chromium := need(t, "Chromium", os.Getenv("HOLDFAST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
	dir := t.TempDir()
	for _, name := range []string{"browser.mjs", "package.json", "package-lock.json"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "ci", "--no-audit", "--no-fund")
	install.Dir = dir
	out, err := install.CombinedOutput()
	require.NoError(t, err, "npm ci: %s", out)

	b := &browser{t: t, log: &tail{}}
	cmd := exec.Command(node, "browser.mjs")
	cmd.Dir, cmd.Stderr = dir, b.log
	cmd.Env = append(os.Environ(), "HOLDFAST_CHROMIUM="+chromium)
	b.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	b.lines = bufio.NewReader(stdout)
	require.NoError(t, cmd.Start())
	whole := t.T
	whole.Cleanup(func() {
		_ = b.in.Close()
		kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			whole.Errorf("the browser's driver ended: %v\n%s", err, b.log)
		}
	})
	return b
}

// do has the driver do something, and puts what comes of it into value.
func (b *browser) do(value any, op string, tab int, with map[string]any) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	request := map[string]any{"id": b.last, "op": op, "tab": tab}
	for name, what := range with {
		request[name] = what
	}
	line, err := json.Marshal(request)
	require.NoError(b.t, err)
	_, err = b.in.Write(append(line, '\n'))
	require.NoError(b.t, err, b.log)
	var answer struct {
		ID    int
		Value json.RawMessage
		Error string
	}
	text, err := b.lines.ReadBytes('\n')
	require.NoError(b.t, err, "the browser's driver does not answer: %s", b.log)
	require.NoError(b.t, json.Unmarshal(text, &answer))
	require.Equal(b.t, b.last, answer.ID)
	require.Empty(b.t, answer.Error, "%s", line)
	if value != nil {
		require.NoError(b.t, json.Unmarshal(answer.Value, value), "%s", text)
	}
}

// tab is a page of a browser that shares nothing with other tabs.
type tab struct {
	t      *current
	b      *browser
	base   string
	id     int
	clicks int
}

const wide, high = 1280, 900

// open opens a tab on a console. script says whether pages may run any.
func (b *browser) open(base string, script bool) *tab {
	b.t.Helper()
	p := &tab{t: b.t, b: b, base: base}
	b.do(&p.id, "open", 0, map[string]any{"script": script, "width": wide, "height": high})
	return p
}

func (p *tab) do(value any, op string, with map[string]any) {
	p.t.Helper()
	p.b.do(value, op, p.id, with)
}

func (p *tab) goTo(path string) {
	p.t.Helper()
	p.do(nil, "goto", map[string]any{"url": p.base + path})
}

// link and button are what people see: a link, or a button, by its text.
func link(name string) string   { return fmt.Sprintf("role=link[name=%q]", name) }
func button(name string) string { return fmt.Sprintf("role=button[name=%q]", name) }

// click clicks what leads to another page, and counts it.
func (p *tab) click(target string) {
	p.t.Helper()
	p.clicks++
	p.do(nil, "click", map[string]any{"target": target})
}

// twice clicks a button of the form that acts twice, before anything has come of the first
// click. It returns the status of that one's answer.
func (p *tab) twice(target string) (status int) {
	p.t.Helper()
	p.do(&status, "twice", map[string]any{"target": target, "path": "/do"})
	return status
}

func (p *tab) fill(label, value string) {
	p.t.Helper()
	p.do(nil, "fill", map[string]any{"target": fmt.Sprintf("role=textbox[name=%q]", label), "value": value})
}

// write writes where the cursor is already.
func (p *tab) write(value string) {
	p.t.Helper()
	p.do(nil, "type", map[string]any{"value": value})
}

// because writes why something is done: the cursor is there, once the page has been drawn.
func (p *tab) because(why string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.focused("input#reason") }, patience, pause, "the cursor is where the reason goes")
	p.write(why)
}

// press presses a key; leads says that another page comes of it.
func (p *tab) press(key string, leads bool) {
	p.t.Helper()
	p.do(nil, "press", map[string]any{"key": key, "leads": leads})
}

func (p *tab) count(target string) (n int) {
	p.t.Helper()
	p.do(&n, "count", map[string]any{"target": target})
	return n
}

// text is what the page shows.
func (p *tab) text() (text string) {
	p.t.Helper()
	p.do(&text, "text", nil)
	return text
}

// view is what is to be said of a page, and of what its tab did.
type view struct {
	URL      string
	Status   int
	Headers  map[string]string
	Dialogs  []string
	Requests []string
}

func (p *tab) see() (v view) {
	p.t.Helper()
	p.do(&v, "see", nil)
	return v
}

// shows asserts what the page is.
func (p *tab) shows(status int, texts ...string) {
	p.t.Helper()
	text := p.text()
	for _, want := range texts {
		require.Contains(p.t, text, want)
	}
	require.Equal(p.t, status, p.see().Status, text)
}

// evaluate runs a script in the page, as its driver and not as the page.
func (p *tab) evaluate(value any, script string) {
	p.t.Helper()
	p.do(value, "evaluate", map[string]any{"script": script})
}

// send sends a form as a page could, with these fields.
func (p *tab) send(path string, fields map[string]string) {
	p.t.Helper()
	p.do(nil, "send", map[string]any{"path": path, "fields": fields})
}

// fields are those of the page's form that acts.
func (p *tab) fields() (fields map[string]string) {
	p.t.Helper()
	p.evaluate(&fields, `Object.fromEntries(new FormData(document.querySelector('form[action="/do"]')))`)
	return fields
}

// until opens a page again and again until that is true of it: the servers' lists are late.
func (p *tab) until(path string, what string, ready func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for p.goTo(path); !ready(); p.goTo(path) {
		if time.Now().After(deadline) {
			require.FailNow(p.t, path+" never has "+what, p.text())
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// opens opens a page until it has a text.
func (p *tab) opens(path, text string) {
	p.t.Helper()
	p.until(path, text, func() bool { return strings.Contains(p.text(), text) })
}

// finds opens the first page, such that it stays, until it has a link, or whatever target is.
func (p *tab) finds(target string) {
	p.t.Helper()
	p.until("/?still=1", target, func() bool { return p.count(target) > 0 })
}

// tail keeps the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailKept = 16 << 10

// Write implements io.Writer.
func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	w.text = w.text[max(0, len(w.text)-tailKept):]
	return len(p), nil
}

// String implements fmt.Stringer.
func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}
