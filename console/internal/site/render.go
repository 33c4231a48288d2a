package site

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

//go:embed templates/*.html
var templateFiles embed.FS

// The script of the pages that are kept up to date is live.js. It puts what is new into a page with
// idiomorph (https://github.com/bigskysoftware/idiomorph), which is as it was published.
//
//go:embed static/*
var static embed.FS

// morphName is idiomorph's file, morphSum its SHA-256.
const (
	morphName = "idiomorph-0.8.0.min.js"
	morphSum  = "4cbd535caf7663a51eda9bce6595371c384fc430d54b8d414e29a61167f19f96"
)

// staticFiles are the types of what browsers get beside pages, by path.
var staticFiles = map[string]string{"/static/console.css": "text/css; charset=utf-8",
	"/static/live.js": "text/javascript; charset=utf-8", "/static/" + morphName: "text/javascript; charset=utf-8"}

func serveStatic(w http.ResponseWriter, r *http.Request) {
	file, err := static.ReadFile(r.URL.Path[1:])
	if err != nil {
		panic(err) // they are in the program
	}
	w.Header().Set("Content-Type", staticFiles[r.URL.Path])
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(file)
}

// longest is how many characters of a text that others wrote stand on a page.
const longest = 300

// functions are what the templates use. Texts that others wrote go through line or plain.
var functions = template.FuncMap{
	"line":  func(s string) string { return text.CutText(text.OneLine(s), longest) },
	"lines": func(all []string) string { return text.CutText(text.OneLine(text.Join(all)), longest) },
	"dash":  func(s string) string { return text.OrDash(s) },
	"plain": text.Printable,
	"level": levelOf,
}

// views are the templates by name, each with the layout around it.
var views = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html"))
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, f := range files {
		if f.Name() != "layout.html" {
			all[f.Name()] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+f.Name()))
		}
	}
	return all
}()

// view is what a template is given.
type view struct {
	Title  string
	Of     login.Session
	In     bool // somebody is logged in
	Acts   bool // who may act
	Audits bool // who may read the audit
	Tokens bool // who may make tokens
	Query  string
	Prefix string
	// Refresh is the address that the page goes to by itself after a while; empty: it
	// stays.
	Refresh string
	Every   int // seconds
	// Live says where a page is kept up to date from; nil: it is not.
	Live *liveView
	now  time.Time
	// bare leaves out what always moves: ages, and when somebody looked.
	bare bool
	Page any
}

// liveView is what a page needs that is kept up to date.
type liveView struct {
	Events string // where they come from
	Print  string // of the page as it is
	Morph  string // the file that helps
	// Stay is the page that stays as it is; empty: the page itself has a link to it.
	Stay string
}

// At says when something was, and how long ago.
func (v view) At(when any) string {
	switch when := when.(type) {
	case time.Time:
		return v.clock(when)
	case *time.Time:
		if when != nil {
			return v.clock(*when)
		}
	}
	return ""
}

func (v view) clock(when time.Time) string {
	if when.IsZero() {
		return ""
	}
	if v.bare {
		return when.String()
	}
	return text.Clock(when, v.now)
}

// Age says how long ago something was.
func (v view) Age(when time.Time) string {
	if v.bare {
		return when.String()
	}
	return text.Age(v.now.Sub(when))
}

// Moves is what changes all the time: with that alone, a page has not changed.
func (v view) Moves(what any) string {
	switch what := what.(type) {
	case string:
		if !v.bare {
			return what
		}
	case time.Time:
		if !v.bare {
			return v.clock(what)
		}
	}
	return ""
}

// Zone is the time zone of the page.
func (v view) Zone() string {
	name, _ := v.now.Zone()
	return name
}

// Now is when the page was made.
func (v view) Now() string { return v.now.Format(text.DateTime) }

// render writes a page.
func (s *Site) render(w http.ResponseWriter, r *http.Request, status int, of login.Session, name, title string,
	page any) {
	v := view{Title: text.CutText(text.OneLine(title), longest), Of: of, In: of.User != "",
		Acts:   of.Role.May(login.Operator),
		Audits: of.Role.May(login.Admin), Tokens: of.Role.May(login.Operator), Prefix: s.Prefix, now: s.Now(), Page: page}
	v.Query = r.URL.Query().Get("q")
	if p, ok := page.(interface{ refresh() string }); ok {
		v.Refresh, v.Every = p.refresh(), 30
	}
	if p, ok := page.(interface{ every() int }); ok {
		v.Every = p.every()
	}
	if seen, ok := r.Context().Value(shotKey{}).(*shot); ok {
		s.take(seen, name, v)
		return
	}
	if p, ok := page.(interface{ live(r *http.Request) bool }); ok && status == http.StatusOK && p.live(r) {
		v.Live = s.liveOf(r, name, v)
	}
	var out bytes.Buffer
	if err := views[name].Execute(&out, v); err != nil {
		s.Log.Error("a page cannot be made", "page", name, "error", err)
		http.Error(w, "The page cannot be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.Live != nil {
		w.Header().Set("Content-Security-Policy", livePolicy)
	}
	w.WriteHeader(status)
	// Whatever came past the functions: control characters, and those that turn a text.
	_, _ = w.Write(printable(out.Bytes()))
}

// message is a page with a few sentences.
type message struct {
	Title string
	Text  string
	// Remedy is what to do, Links where to go.
	Remedy string
	Links  []link
	// Refresh is where the page goes by itself after a while; empty: it stays.
	Refresh string
	// AtOnce says that it does so at once.
	AtOnce bool
}

func (m message) refresh() string { return m.Refresh }

// every is after how many seconds.
func (m message) every() int {
	if m.AtOnce {
		return 0
	}
	return 30
}

type link struct{ Text, To string }

// say writes a message.
func (s *Site) say(w http.ResponseWriter, r *http.Request, status int, of login.Session, m message) {
	s.render(w, r, status, of, "message.html", m.Title, m)
}

// failed says why a page cannot be shown.
func (s *Site) failed(w http.ResponseWriter, r *http.Request, of login.Session, err error) {
	what, remedy := text.SplitRemedy(err)
	m := message{Title: "This cannot be shown now", Text: text.Capital(what), Remedy: remedy}
	status := http.StatusBadGateway
	var several server.AmbiguousError
	var usage text.UsageError
	switch {
	case errors.As(err, &several):
		status, m.Title = http.StatusMultipleChoices, "It means several"
		for _, id := range several.IDs {
			m.Links = append(m.Links, link{id, addressOf(id)})
		}
	case errors.Is(err, holdfast.ErrNotFound):
		status, m.Title = http.StatusNotFound, "There is no such thing"
	case errors.As(err, &usage):
		status, m.Title = http.StatusBadRequest, "This cannot be asked"
	}
	s.say(w, r, status, of, m)
}

// levels are how bad states are.
var levels = map[string]text.Level{"parked": text.LevelProblem, "compensation-failed": text.LevelProblem,
	"failed": text.LevelProblem, "terminated": text.LevelProblem, "canceled": text.LevelProblem,
	"timed-out": text.LevelProblem,
	"no-worker": text.LevelWarning, "waiting": text.LevelWarning, "paused": text.LevelWarning,
	"compensating": text.LevelWarning, "redelivering": text.LevelWarning, "waits": text.LevelWarning,
	"checking": text.LevelWarning, "delivering": text.LevelWarning, "completed": text.LevelOK, "compensated": text.LevelOK,
	"handled": text.LevelOK, "committed": text.LevelOK, "refused": text.LevelProblem, "unknown": text.LevelProblem,
	"not sent": text.LevelProblem, "problem": text.LevelProblem, "warning": text.LevelWarning, "ok": text.LevelOK}

// levelOf is a class of the style.
func levelOf(state any) string {
	switch state := state.(type) {
	case text.Level:
		return string(state)
	case string:
		return string(levels[strings.TrimSpace(state)])
	}
	return ""
}
