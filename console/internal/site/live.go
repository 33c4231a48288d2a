package site

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/console/internal/live"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

const (
	// liveStreams is how many pages are live at most, liveOfOne how many of one session, liveOfUser how
	// many of one user in all. With HTTP/1.1 browsers have six connections to one site: two are left
	// for its pages.
	liveStreams, liveOfOne, liveOfUser = 200, 4, 8
	// liveEvery is how long after a look at a page the next one begins, liveRun of a page that
	// is in memory, liveSlow of one for which RabbitMQ's queues are read.
	liveEvery, liveRun, liveSlow = 10 * time.Second, time.Second, 30 * time.Second
	// liveBeat is how often something is sent to a page of which nothing has changed.
	liveBeat = 15 * time.Second
	// liveMoves is how often a page is sent of which nothing has changed but for how long
	// things have been so.
	liveMoves = time.Minute
	// liveLasts is how long a stream lasts: the browser asks for another one then. Whom a
	// proxy names is asked of the proxy then, so that he has less.
	liveLasts, liveProxied = 10 * time.Minute, time.Minute
	// liveWrite is how long a browser may take to take something.
	liveWrite = 20 * time.Second
	// liveRetry is after how many milliseconds browsers ask for another stream.
	liveRetry = 3000
)

// livePage is a page that is kept up to date while somebody has it open.
type livePage struct {
	show  handler
	every time.Duration
	// of are the fields of its address, beside which none counts.
	of []string
	// own says that the page differs by who looks. Others differ by role alone.
	own bool
}

// livePages are those that are kept up to date, by path.
func (s *Site) livePages() map[string]livePage {
	id := []string{"id"}
	return map[string]livePage{
		"/":            {show: s.homePage, every: liveEvery},
		"/consumers":   {show: s.consumersPage, every: liveSlow},
		"/consumer":    {show: s.consumerPage, every: liveSlow, of: []string{"name"}},
		"/saga":        {show: s.sagaPage, every: liveEvery, of: id},
		"/letter":      {show: s.letterPage, every: liveEvery, of: id},
		"/transaction": {show: s.transactionPage, every: liveEvery, of: id},
		"/dead/run":    {show: s.runPage, every: liveRun, of: []string{"id", "act", "of"}, own: true},
	}
}

// liveAddress is what of a page's address says which page it is; empty: it is none that is kept up
// to date.
func (s *Site) liveAddress(u *url.URL) string {
	p, ok := s.pages[u.Path]
	if !ok {
		return ""
	}
	given, kept := u.Query(), url.Values{}
	for _, name := range p.of {
		if v := given.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	if len(kept) == 0 {
		return u.Path
	}
	return u.Path + "?" + kept.Encode()
}

// liveOf is what a page needs that is kept up to date; nil: there is no such page.
func (s *Site) liveOf(r *http.Request, name string, v view) *liveView {
	address := s.liveAddress(r.URL)
	if address == "" {
		return nil
	}
	l := &liveView{Print: printOfPage(name, v), Morph: morphName,
		Events: "/events?" + url.Values{"auto": {"1"}, "page": {address}}.Encode()}
	if v.Refresh == "" {
		stay := *r.URL
		q := stay.Query()
		q.Set("still", "1")
		l.Stay = stay.Path + "?" + q.Encode()
	}
	return l
}

// stays reports whether who asks for a page wants it to stay as it is.
func stays(r *http.Request) bool { return r.URL.Query().Get("still") != "" }

// sagaEnded are the states of sagas of which nothing more comes by itself.
var sagaEnded = append([]string{core.StateCompleted, core.StateCompensated}, server.LostStates...)

// settled reports whether nothing more comes by itself of a dead letter or a transaction: its state is
// final, or its workflow was ended from outside.
func settled(state string) bool {
	return workflows.State(state).Final() || slices.Contains(server.LostStates, state)
}

// live reports whether a page is kept up to date: not that of what has ended.
func (h home) live(*http.Request) bool          { return !h.Still }
func (v consumersView) live(*http.Request) bool { return !v.Still }
func (v sagaView) live(r *http.Request) bool {
	return !stays(r) && !slices.Contains(sagaEnded, v.State)
}
func (v letterView) live(r *http.Request) bool      { return !stays(r) && !settled(v.State) }
func (v transactionView) live(r *http.Request) bool { return !stays(r) && !settled(v.State) }
func (v runView) live(r *http.Request) bool         { return !stays(r) && !v.State.Final() }

// shot is what a look at a page leaves.
type shot struct{ frame live.Frame }

// shotKey is the key of a request's shot: who asks is no browser.
type shotKey struct{}

// nowhere is where a page is written that is looked at for others.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// lookFor looks at a page for somebody, or for all of his role.
func (s *Site) lookFor(p livePage, address string, of login.Session) func(context.Context) live.Frame {
	if !p.own {
		of = login.Session{Role: of.Role}
	}
	return func(ctx context.Context) live.Frame {
		ctx, cancel := context.WithTimeout(ctx, pageTime)
		defer cancel()
		seen := &shot{live.Frame{Wrong: "the page cannot be made"}}
		r, err := http.NewRequestWithContext(context.WithValue(ctx, shotKey{}, seen), http.MethodGet, address, nil)
		if err != nil {
			return seen.frame
		}
		p.show(nowhere{http.Header{}}, r, of)
		return seen.frame
	}
}

// take takes the shot of a page.
func (s *Site) take(seen *shot, name string, v view) {
	if m, ok := v.Page.(message); ok {
		seen.frame = live.Frame{Wrong: strings.TrimSuffix(strings.TrimSpace(m.Title+": "+m.Text), ":")}
		return
	}
	body, err := fragment(name, v)
	if err != nil {
		s.Log.Error("a page cannot be made", "page", name, "error", err)
		return
	}
	seen.frame = live.Frame{Body: body, Print: printOfPage(name, v)}
}

// fragment is what is kept up to date of a page.
func fragment(name string, v view) ([]byte, error) {
	var out bytes.Buffer
	if err := views[name].ExecuteTemplate(&out, "content", v); err != nil {
		return nil, err
	}
	return printable(out.Bytes()), nil
}

// printOfPage tells a page from any other, but for what always moves on it. Empty: it cannot be
// made.
func printOfPage(name string, v view) string {
	v.bare = true
	bare, err := fragment(name, v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(bare)
	return hex.EncodeToString(sum[:12])
}

// printable is HTML without control characters, and without those that turn a text.
func printable(page []byte) []byte {
	var out bytes.Buffer
	_, _ = text.Plain(&out).Write(bytes.ReplaceAll(page, []byte("\x1b"), nil))
	return out.Bytes()
}

// events serves a page's changes while it is open, as server-sent events:
//
//	page    the page has changed: its HTML, and whether only ages have ("quiet")
//	looked  somebody has looked, and when: nothing has changed. Of the first look this is told at once
//	failed  nothing is seen now, and why
//	over    the session has ended
func (s *Site) events(w http.ResponseWriter, r *http.Request) {
	of, ok := s.session(r, false)
	w.Header().Set("Content-Type", "text/event-stream")
	f := &feed{w: w, c: http.NewResponseController(w), moved: s.Now(), now: s.Now}
	if !ok { // of another status, a browser's script hears nothing
		_ = f.event("over", "", nil)
		return
	}
	at, err := url.Parse(r.URL.Query().Get("page"))
	address := ""
	if err == nil && at.Host == "" && at.Scheme == "" {
		address = s.liveAddress(at)
	}
	if address == "" || !of.Role.May(login.Viewer) {
		http.Error(w, "There is no such page.", http.StatusNotFound)
		return
	}
	p := s.pages[at.Path]
	name := of.Role.String() + " " + address
	if p.own {
		name = of.Key + " " + address
	}
	stream, err := s.live.Open(live.Page{Name: name, Every: p.every, Look: s.lookFor(p, address, of)},
		of.Key, person(of))
	if err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, live.ErrYours) {
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Retry-After", "30")
		http.Error(w, text.Capital(err.Error())+".", status)
		return
	}
	defer stream.Close()
	if f.print = r.Header.Get("Last-Event-ID"); f.print == "" {
		f.print = r.URL.Query().Get("print")
	}
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not wait for more
	if f.write(fmt.Sprintf("retry: %d\n\n", liveRetry)) != nil {
		return
	}
	s.feed(r.Context(), of, stream, f)
}

// feed tells of a page until the browser leaves, the session ends, or the console.
func (s *Site) feed(ctx context.Context, of login.Session, stream *live.Stream, f *feed) {
	lasts := liveLasts
	if of.By == login.ByProxy {
		lasts = liveProxied
	}
	end, beat := s.after(lasts), s.after(liveBeat)
	for {
		last, next := stream.Last()
		if !s.sessions.Lasts(of) {
			_ = f.event("over", "", nil)
			return
		}
		if f.show(last) != nil {
			return
		}
		select {
		case <-next:
		case <-beat:
			if f.beat(last) != nil {
				return
			}
			beat = s.after(liveBeat)
		case <-of.Ended(): // and is told so
		case <-end:
			return
		case <-s.live.Ended():
			return
		case <-ctx.Done():
			return
		}
	}
}

// feed is what one browser has been told.
type feed struct {
	w   http.ResponseWriter
	c   *http.ResponseController
	now func() time.Time

	print string    // of the page that it has
	moved time.Time // when it got that
	body  []byte    // its sum; nil: not known
	wrong string
	seen  uint64 // the look that was looked at, told the one that it knows of
	told  uint64
}

// pageEvent is a page that has changed.
type pageEvent struct {
	HTML  string `json:"html"`
	Quiet bool   `json:"quiet"` // but for ages, it is as it was
	At    string `json:"at"`
}

// show tells of a look, if it saw something else than the browser has.
func (f *feed) show(last live.Frame) error {
	if last.N == f.seen {
		return nil
	}
	first := f.seen == 0
	f.seen = last.N
	if last.Wrong != "" {
		if last.Wrong == f.wrong {
			return nil
		}
		f.wrong = last.Wrong
		return f.event("failed", "", text.CutText(text.OneLine(last.Wrong), longest))
	}
	recovered := f.wrong != ""
	f.wrong = ""
	now, sum := f.now(), sha256.Sum256(last.Body)
	changed := last.Print != f.print
	moved := f.body != nil && !bytes.Equal(f.body, sum[:]) && now.Sub(f.moved) >= liveMoves
	if f.body == nil || changed || moved {
		f.body = sum[:]
	}
	if !changed && !moved && !recovered && !first {
		return nil
	}
	at := last.At.Format(text.DateTime)
	if !first || changed || moved {
		f.told = last.N
	}
	if !changed && !moved {
		return f.event("looked", "", at)
	}
	f.print, f.moved = last.Print, now
	return f.event("page", last.Print, pageEvent{HTML: string(last.Body), Quiet: !changed, At: at})
}

// beat tells when somebody last looked, or only that the stream goes on.
func (f *feed) beat(last live.Frame) error {
	if last.N == f.told || last.Wrong != "" {
		return f.write(":\n\n")
	}
	f.told = last.N
	return f.event("looked", "", last.At.Format(text.DateTime))
}

// event sends an event with a value as JSON.
func (f *feed) event(name, id string, value any) error {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	said := "event: " + name + "\n"
	if id != "" {
		said += "id: " + id + "\n"
	}
	return f.write(said + "data: " + data.String() + "\n") // its own line has an end already
}

// write sends something at once.
func (f *feed) write(said string) error {
	// The server's limit is that of a page. Where it cannot be changed, it ends the stream.
	_ = f.c.SetWriteDeadline(time.Now().Add(liveWrite))
	if _, err := f.w.Write([]byte(said)); err != nil {
		return err
	}
	return f.c.Flush()
}
