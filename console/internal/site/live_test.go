package site

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/live"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// ownScript matches what of scripts may be on a page.
var ownScript = regexp.MustCompile(`<script src="/static/(idiomorph-[0-9.]+\.min|live)\.js" defer></script>\n`)

// liveHouse is a console whose pages are looked at, and told of, when a test says so.
type liveHouse struct {
	*house
	ticks, beats chan time.Time
	over         chan struct{} // a look is
}

func newLiveHouse(t *testing.T) *liveHouse {
	t.Helper()
	h := &liveHouse{newHouse(t), make(chan time.Time), make(chan time.Time), make(chan struct{}, 1000)}
	o := h.site.Options
	o.After = func(d time.Duration) <-chan time.Time {
		switch d {
		case liveEvery, liveRun, liveSlow:
			select {
			case h.over <- struct{}{}:
			default: // nobody counts them
			}
			return h.ticks
		case liveBeat:
			return h.beats
		}
		return nil
	}
	h.site = New(o)
	h.web.Config.Handler = h.site
	t.Cleanup(h.site.End)
	return h
}

// again has the pages that are open looked at, and returns when the look before was over.
func (h *liveHouse) again() { h.ticks <- time.Now() }

// goesOn has the pages that are open looked at again and again: whichever they are, and whether or
// not the look before was a page's last one.
func (h *liveHouse) goesOn() {
	ctx := h.t.Context()
	go func() {
		for {
			select {
			case h.ticks <- time.Now():
			case <-ctx.Done():
				return
			}
		}
	}()
}

// event is what a browser hears.
type event struct{ name, id, data string }

// stream is a page that is open.
type stream struct {
	t    *testing.T
	got  *http.Response
	in   *bufio.Reader
	stop context.CancelFunc
	told bool // that of the first look has come
}

var events = regexp.MustCompile(`data-events="([^"]*)" data-print="([^"]*)"`)

// open opens a page, and hears of it.
func (b *browser) open(path string) *stream {
	b.h.t.Helper()
	page := b.get(path)
	require.Equal(b.h.t, http.StatusOK, page.status, page.body)
	found := events.FindStringSubmatch(page.body)
	require.NotNil(b.h.t, found, page.body)
	s := b.hear(html.UnescapeString(found[1]) + "&print=" + found[2])
	require.Equal(b.h.t, http.StatusOK, s.got.StatusCode)
	line, err := s.in.ReadString('\n')
	require.NoError(b.h.t, err)
	require.Equal(b.h.t, "retry: 3000\n", line)
	_, err = s.in.ReadString('\n')
	require.NoError(b.h.t, err)
	return s
}

func (b *browser) hear(path string) *stream {
	b.h.t.Helper()
	ctx, stop := context.WithCancel(b.h.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.h.web.URL+path, nil)
	require.NoError(b.h.t, err)
	got, err := b.c.Do(r)
	require.NoError(b.h.t, err)
	b.h.t.Cleanup(func() { stop(); _ = got.Body.Close() })
	return &stream{b.h.t, got, bufio.NewReader(got.Body), stop, false}
}

// next is what comes next, but that the first look saw nothing new; io.EOF: nothing.
func (s *stream) next() (e event, err error) {
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return e, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n" && e.name == "looked" && !s.told:
			s.told, e = true, event{}
		case line == "\n":
			s.told = s.told || e.name != ""
			return e, nil
		case name == "":
			e.name = "comment"
		case name == "event":
			e.name = value
		case name == "id":
			e.id = value
		case name == "data":
			e.data += value
		}
	}
}

func (s *stream) hears(name string) event {
	s.t.Helper()
	e, err := s.next()
	require.NoError(s.t, err)
	require.Equal(s.t, name, e.name, e.data)
	return e
}

// changes is the page as it is now.
func (s *stream) changes() (p pageEvent) {
	s.t.Helper()
	e := s.hears("page")
	require.NotEmpty(s.t, e.id)
	require.NoError(s.t, json.Unmarshal([]byte(e.data), &p))
	return p
}

func (s *stream) ends() {
	s.t.Helper()
	_, err := s.next()
	require.ErrorIs(s.t, err, io.EOF)
}

const liveSaga = "/saga?id=" + sagaID

// TestAPageIsLive: what changes comes by itself, and nothing where nothing has changed.
func TestAPageIsLive(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	s := h.as("operator").open(liveSaga)
	require.Equal(t, "text/event-stream", s.got.Header.Get("Content-Type"))
	h.again()
	h.again() // two looks at least are over
	h.beats <- time.Now()
	require.Contains(t, s.hears("looked").data, "2026-01-02 12:00:00")
	h.desk.change(func(d *sagas.Detail) { d.State, d.Choices = core.StateRunning, nil })
	h.again()
	p := s.changes()
	require.Contains(t, p.HTML, ">running</span>")
	require.NotContains(t, p.HTML, "What can be done")
	require.NotContains(t, p.HTML, "<html", "it is the page's content")
	require.False(t, p.Quiet)
	h.again()
	h.pass(time.Second)
	h.again()
	h.again()
	h.beats <- time.Now()
	require.Equal(t, "looked", s.hears("looked").name)
}

// TestTheFirstLookIsTold at once: until then no browser says that its page is live.
func TestTheFirstLookIsTold(t *testing.T) {
	t.Parallel()
	s := newLiveHouse(t).as("viewer").open(liveSaga)
	s.told = true
	require.Contains(t, s.hears("looked").data, "2026-01-02 12:00:00")
}

// TestWhatHasEndedIsNotLive: nothing more comes of it.
func TestWhatHasEndedIsNotLive(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("viewer")
	for _, at := range []string{liveSaga, "/letter?id=" + letterID} {
		require.Contains(t, b.get(at).body, "data-events=")
	}
	h.desk.change(func(d *sagas.Detail) { d.State = core.StateCompensated })
	h.desk.mu.Lock()
	h.desk.letter.State = string(workflows.Discarded)
	h.desk.mu.Unlock()
	for _, at := range []string{liveSaga, "/letter?id=" + letterID, "/transaction?id=x"} {
		page := b.get(at)
		require.Equal(t, http.StatusOK, page.status)
		require.NotContains(t, page.body, "data-events=", at)
	}
	for state, lives := range map[string]bool{string(workflows.Parked): true, "terminated": false, "timed-out": false} {
		h.desk.mu.Lock()
		h.desk.letter.State = state
		h.desk.mu.Unlock()
		require.Equal(t, lives, strings.Contains(b.get("/letter?id="+letterID).body, "data-events="), state)
		v := transactionView{}
		v.State = state
		require.Equal(t, lives, v.live(httptest.NewRequest(http.MethodGet, "/transaction?id=x", nil)), state)
	}
}

// TestAgesMoveSeldom, and quietly.
func TestAgesMoveSeldom(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	s := h.as("viewer").open(liveSaga)
	h.again()
	h.pass(liveMoves - time.Second)
	h.again()
	h.again()
	for range 4 { // with the first one, and the last
		<-h.over
	}
	h.beats <- time.Now()
	s.hears("looked")
	h.beats <- time.Now() // it has seen the last one, too
	e, err := s.next()
	require.NoError(t, err)
	require.Contains(t, []string{"looked", "comment"}, e.name)
	h.pass(time.Second)
	h.again()
	p := s.changes()
	require.True(t, p.Quiet)
	require.Contains(t, p.HTML, "(1m00s ago)")
	require.Equal(t, `"2026-01-02 12:01:00"`, `"`+p.At+`"`)
}

// TestWhatChangedBeforeTheStream comes with the first look.
func TestWhatChangedBeforeTheStream(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	b := h.as("viewer")
	found := events.FindStringSubmatch(b.get(liveSaga).body)
	h.desk.change(func(d *sagas.Detail) { d.State = core.StateRunning })
	s := b.hear(html.UnescapeString(found[1]) + "&print=" + found[2])
	_, err := s.next() // retry
	require.NoError(t, err)
	require.Contains(t, s.changes().HTML, ">running</span>")
}

// TestOneLookIsForAll: but not for another role, which sees another page.
func TestOneLookIsForAll(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	h.desk.found.Findings = []doctor.Finding{{Part: "Waiting", Check: "x", Level: text.LevelProblem, Detail: "y"}}
	operator, viewer := h.as("operator"), h.as("viewer")
	one, two, other := operator.open(liveSaga), h.as("operator").open(liveSaga+"&auto=1"), viewer.open(liveSaga)
	h.desk.change(func(d *sagas.Detail) { d.Reason = "another one" })
	over := make(chan struct{})
	go func() {
		for {
			select {
			case h.ticks <- time.Now(): // to whichever page
			case <-over:
				return
			}
		}
	}()
	for _, s := range []*stream{one, two} {
		require.Contains(t, s.changes().HTML, "/do?")
	}
	p := other.changes()
	require.Contains(t, p.HTML, "another one")
	require.NotContains(t, p.HTML, "/do?")
	close(over)
	require.Equal(t, 2, h.site.live.Pages())
	for _, s := range []*stream{one, two, other} {
		require.NotContains(t, p.HTML, "operator")
		s.stop()
	}
	for h.site.live.Streams() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestAStreamEndsWithItsSession, before anything more is told.
func TestAStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*liveHouse, *browser){
		"logged out": func(_ *liveHouse, b *browser) {
			form := fields(t, b.get("/sagas").body, "/logout")
			require.Equal(t, http.StatusSeeOther, b.post("/logout", form).status)
		},
		"its time is over": func(h *liveHouse, _ *browser) {
			h.pass(login.Idle)
			h.desk.change(func(d *sagas.Detail) { d.Reason = "a secret" })
			h.goesOn()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newLiveHouse(t)
			b := h.as("operator")
			s := b.open(liveSaga)
			at := b.id()
			h.again()
			end(h, b)
			s.hears("over")
			s.ends()
			require.Empty(t, s.in.Buffered())
			require.NotEmpty(t, at)
			again := b.hear("/events?page=/")
			again.hears("over")
			again.ends()
		})
	}
}

// TestALivePageKeepsNoSession: only who asks for a page does.
func TestALivePageKeepsNoSession(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	b := h.as("operator")
	b.open(liveSaga)
	h.pass(login.Idle - time.Second)
	b.hear("/events?page=/")
	h.pass(time.Second)
	require.Equal(t, http.StatusSeeOther, b.get("/").status)
}

// TestWhatIsNotLive has no stream, and streams are bounded.
func TestWhatIsNotLive(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	h.browser().hear("/events?page=/").hears("over")
	b := h.as("operator")
	for _, page := range []string{"", "/audit", "/tokens", "/do?" + retrySaga, "//evil.example/", "http://evil.example/", "/sagas", "%zz", "/events"} {
		require.Equal(t, http.StatusNotFound, b.hear("/events?page="+url.QueryEscape(page)).got.StatusCode, page)
	}
	require.NotContains(t, b.get("/?still=1").body, "data-events")
	require.NotContains(t, b.get(liveSaga+"&still=1").body, "data-events")
	require.NotContains(t, b.get("/sagas").body, "<script")
	var open []*stream
	for range liveOfOne {
		open = append(open, b.open("/"))
	}
	got := b.hear("/events?page=/").got
	require.Equal(t, http.StatusTooManyRequests, got.StatusCode)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.NotEqual(t, "text/event-stream", got.Header.Get("Content-Type"))
	require.Equal(t, http.StatusOK, h.as("operator").hear("/events?page=/").got.StatusCode, "another session")
	open[0].stop()
	for h.site.live.Streams() > liveOfOne {
		time.Sleep(time.Millisecond)
	}
	b.open("/")
	full := newLiveHouse(t)
	full.site.live = live.New(0, 1, 1, full.now, full.site.after)
	require.Equal(t, http.StatusServiceUnavailable, full.as("viewer").hear("/events?page=/").got.StatusCode)
}

// TestTheEndEndsStreams at once: a server that is told to end does not wait for them.
func TestTheEndEndsStreams(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	s := h.as("viewer").open("/")
	h.site.End()
	s.ends()
	require.NoError(t, h.web.Config.Shutdown(t.Context()))
}

// TestAStreamOutlastsAPage: the server's limits of a page do not end it.
func TestAStreamOutlastsAPage(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	const limit = 300 * time.Millisecond
	h.web = httptest.NewUnstartedServer(h.site)
	h.web.Config.ReadTimeout, h.web.Config.WriteTimeout = limit, limit
	h.web.Start()
	t.Cleanup(func() { h.site.End(); h.web.Close() })
	h.site.Users = nil // a password takes longer
	b := h.browser()
	id, _ := h.site.sessions.Begin(login.User{Name: "ann", Role: login.Viewer, By: login.ByFile})
	at, err := url.Parse(h.web.URL)
	require.NoError(t, err)
	b.c.Jar.SetCookies(at, []*http.Cookie{h.site.newCookie(id, 0)})
	s := b.open(liveSaga)
	<-time.After(2 * limit) // what would end it has its time
	h.desk.change(func(d *sagas.Detail) { d.State = core.StateRunning })
	h.again()
	require.Contains(t, s.changes().HTML, ">running</span>")
}

// TestALookThatFails is told, once, and that it does not any more.
func TestALookThatFails(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	s := h.as("viewer").open(liveSaga)
	set := func(err error) {
		h.desk.mu.Lock()
		defer h.desk.mu.Unlock()
		h.desk.err = err
	}
	set(errors.New("Temporal is <away>\n\u2028"))
	h.again()
	require.Contains(t, s.hears("failed").data, "Temporal is <away>")
	h.again()
	h.again()
	h.beats <- time.Now()
	s.hears("comment")
	set(nil)
	h.again()
	s.hears("looked")
}

// TestARunIsLive for each as he sees it: who may say that it goes on has the form, of his session.
func TestARunIsLive(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	h.desk.letters(3)
	h.desk.handles(handled)
	b, eve := h.as("operator"), h.as("admin")
	got := b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	mine, hers := b.open(got.to), eve.open(got.to)
	require.Equal(t, http.StatusSeeOther, b.steers(page, "stop", "").status)
	h.goesOn()
	for _, s := range []*stream{mine, hers} {
		p := s.changes()
		require.Contains(t, p.HTML, "ended it")
	}
}

// TestWhatBrowsersGetBesidePages is as it was published.
func TestWhatBrowsersGetBesidePages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for path, kind := range staticFiles {
		got := h.browser().get(path)
		require.Equal(t, http.StatusOK, got.status, path)
		require.Equal(t, kind, got.header.Get("Content-Type"))
		require.NotContains(t, got.body, "eval(", "the policy stops it")
	}
	sum := sha256.Sum256([]byte(h.browser().get("/static/" + morphName).body))
	require.Equal(t, morphSum, hex.EncodeToString(sum[:]))
	require.NotEqual(t, http.StatusOK, h.browser().get("/static/idiomorph-LICENSE.txt").status)
}
